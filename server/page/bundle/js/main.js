// The page: everything in its place, and what the server has.

import { failed, mountNotices } from "./core/notices.js";
import { loadNewest } from "./state/gallery.js";
import { refresh } from "./state/models.js";
import { restoreFollowed } from "./state/follow.js";
import { restore } from "./state/form.js";
import { restoreGuides } from "./state/guides.js";
import { watch } from "./state/jobs.js";
import { mountForm } from "./form/form.js";
import { gallery } from "./pictures/gallery.js";
import { stage } from "./pictures/stage.js";
import { listenForPictures } from "./drop.js";
import { listenForKeys } from "./keys.js";
import { mountTabs, mountTop } from "./top.js";

const place = (id) => document.getElementById(id);
const modelsEvery = 15_000;

mountNotices(place("notices"));

/** Asks until the server answers. */
async function first(ask) {
  for (let wait = 500; ; wait = Math.min(10_000, wait * 2)) {
    try {
      return await ask();
    } catch (error) {
      if (wait === 500) failed(error);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

await Promise.all([first(refresh), restore(), restoreFollowed(), restoreGuides()]);
mountTop(place("top"));
mountTabs(place("tabs"));
mountForm(place("work"));
place("pictures").append(stage(), gallery());
listenForKeys();
listenForPictures();
await Promise.all([loadNewest().catch(failed), watch()]);
document.body.dataset.ready = "true";

setInterval(() => {
  if (!document.hidden) refresh().catch(() => {});
}, modelsEvery);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) Promise.all([refresh(), loadNewest()]).catch(() => {});
});

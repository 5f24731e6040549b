// What can be done with a picture that was made: buttons.

import * as api from "../core/api.js";
import { h } from "../core/dom.js";
import { confirm } from "../core/dialog.js";
import { icon } from "../core/icons.js";
import { notice } from "../core/notices.js";
import { attempt, beginWithPicture, refill } from "../state/actions.js";
import { remove } from "../state/gallery.js";
import { editMask } from "../mask/editor.js";
import { source } from "../state/form.js";

/** A button with a drawing; wide ones show their label. */
export function tool(name, label, run, spec = "quiet") {
  return h("button." + spec, { type: "button", title: label, onclick: run }, icon(name), h("span.label", {}, label));
}

/** Fills the form with the parameters of a picture. */
export const reuse = attempt(async (p) => refill(await api.parametersOf(p.id)));

/** Deletes a picture if the user is sure; resolves to whether it is gone. */
export const askAndRemove = attempt(async (p) => {
  if (!(await confirm("Delete this picture? It cannot be undone.", "Delete"))) return false;
  await remove(p);
  notice("The picture was deleted.");
  return true;
});

const inpaint = attempt(async (p) => {
  await beginWithPicture(p, "inpaint");
  editMask(source.peek());
});

/** The buttons for a picture. before() is called ahead of what leads elsewhere. */
export function pictureActions(p, before = () => {}) {
  const after = (run) => () => {
    before();
    run(p);
  };
  return h(
    "div.tools",
    { role: "group", "aria-label": "What to do with the picture" },
    p.parameters && tool("reuse", "Use its parameters", after(reuse)),
    tool("picture", "Image to image", after(attempt((one) => beginWithPicture(one, "picture")))),
    tool("brush", "Inpaint", after(inpaint)),
    tool("upscale", "Upscale", after(attempt((one) => beginWithPicture(one, "upscale")))),
    h(
      "a.button.quiet",
      { href: p.url, download: `sdgo-${p.id.slice(0, 8)}.${p.format}`, title: "Download" },
      icon("download"),
      h("span.label", {}, "Download"),
    ),
  );
}

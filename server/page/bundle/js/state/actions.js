// What can be done with a picture, and with the form as a whole.

import * as api from "../core/api.js";
import { failed, notice, say } from "../core/notices.js";
import { all, chosen, drawsFrom, model } from "./models.js";
import { assign, begin, form, mask, source, values } from "./form.js";
import * as jobs from "./jobs.js";
import { followOthers, follows, showAgain } from "./follow.js";
import { guidances, guideByOthers, showGuidesAgain } from "./guides.js";
import { fromRequest, missing, order } from "./order.js";

/** On phones, which of the two views is shown: "create" or "pictures". */
export function show(view) {
  document.body.dataset.view = view;
  if (view === "pictures") scrollTo({ top: 0 });
}

function dataURL(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** Sends the picture to begin with again: the server keeps uploads for an hour only. */
async function sendAgain() {
  const s = source.peek();
  if (!s?.blob) return false;
  source.value = { ...s, id: (await api.upload(s.blob)).id };
  return true;
}

/** Makes a job of the form. Resolves to it, or to null where that was refused. */
export async function generate() {
  const v = values();
  const lack = missing(v, { source: source.peek(), mask: mask.peek(), follows: follows(), guides: guidances() });
  if (lack) {
    notice(lack, { error: true });
    return null;
  }
  const make = async () =>
    order(v, {
      model: model.peek()?.name ?? "",
      source: source.peek(),
      from: drawsFrom.peek(),
      follows: follows(),
      guides: guidances(),
      mask: v.mode === "inpaint" && mask.peek() ? await dataURL(mask.peek().blob) : null,
    });
  try {
    const job = await jobs.start(await make()).catch(async (error) => {
      const gone = (field) => error.problems?.some((p) => p.field === field);
      const again = [gone("image") && (await sendAgain()), gone("control_images") && (await showAgain()), gone("guide_images") && (await showGuidesAgain())];
      if (again.some(Boolean)) return jobs.start(await make());
      throw error;
    });
    say("The job is in the queue.");
    show("pictures");
    return job;
  } catch (error) {
    failed(error);
    return null;
  }
}

/** Fills the form from a picture's parameters: { request, model, model_hash, unread }. */
export function refill(parameters) {
  const { follows: others, guides, ...said } = fromRequest(parameters.request);
  assign(said);
  followOthers(others);
  guideByOthers(guides);
  form.mode.value = "create";
  const find = all
    .peek()
    .find((m) => m.name === parameters.model || (parameters.model_hash && m.sha256?.startsWith(parameters.model_hash)));
  if (find) chosen.value = find.name;
  const foreign = parameters.model && !find ? ` Its model, ${parameters.model}, is not here.` : "";
  const lost = others.length ? " Choose the pictures that it follows." : "";
  const shown = guides.some((g) => g.kind === "lowres" || g.kind === "mask") ? " Choose the pictures of its guides." : "";
  notice("The form has the picture's parameters." + foreign + lost + shown);
  show("create");
}

/** Takes a picture's file as the one to begin with. */
export async function beginWithFile(blob, mode) {
  const sent = await api.upload(blob);
  begin({ id: sent.id, width: sent.width, height: sent.height, blob, url: URL.createObjectURL(blob) });
  if (mode) form.mode.value = mode;
  return sent;
}

/** Takes one of the gallery. */
export async function beginWithPicture(picture, mode) {
  const blob = await (await fetch(picture.url)).blob();
  begin({ id: picture.id, width: picture.width, height: picture.height, blob, url: URL.createObjectURL(blob) });
  form.mode.value = mode;
  show("create");
}

/** Runs what may fail, and shows why. */
export const attempt =
  (run) =>
  async (...args) => {
    try {
      return await run(...args);
    } catch (error) {
      failed(error);
      return undefined;
    }
  };

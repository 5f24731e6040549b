// What pictures are guided towards, without training: a colour, a smaller picture, a part
// that stays, a class; each a signal for what is said of it, and its pictures.

import * as api from "../core/api.js";
import { computed, effect, signal } from "../core/signal.js";
import { load, loadFile, save, saveFile } from "../core/storage.js";
import { all, capabilities } from "./models.js";

// What is said of each; null is what is not said.
const usual = { kind: "colour", colour: null, classifier: null, class: null };
const places = ["image", "of"];

/** The guides: signals of what is said, and of image and of: { id, width, height, blob, url } or null. */
export const guides = signal([]);

/** The kinds that there are, and what each takes. */
export const kinds = computed(() => capabilities.value?.guides ?? []);

/** The ways to guide; some take no classifiers. */
export const methods = computed(() => capabilities.value?.guide_methods ?? []);

/** Classifiers of noisy pictures. */
export const classifiers = computed(() => all.value.filter((m) => m.kind === "classifier"));

/** The classes of a classifier. */
export const classesOf = (name) => classifiers.value.find((m) => m.name === name)?.classes ?? [];

/** The pictures that a kind takes. */
export const picturesOf = (kind) => kinds.value.find((k) => k.name === kind)?.pictures ?? [];

/** Adds a guide. */
export function guide(said = {}, pictures = {}) {
  const one = Object.fromEntries(Object.entries(usual).map(([key, value]) => [key, signal(said[key] ?? value)]));
  for (const place of places) one[place] = signal(pictures[place] ?? null);
  guides.value = [...guides.peek(), one];
  return one;
}

/** Takes one away. */
export function unguide(one) {
  for (const place of places) release(one[place].peek());
  guides.value = guides.peek().filter((o) => o !== one);
}

/** Guides by others in place of those that there are. */
export function guideByOthers(list) {
  for (const one of guides.peek()) unguide(one);
  for (const said of list) guide(said);
}

/** Takes a picture's file for one of a guide's places. */
export async function show(one, place, blob) {
  const sent = await api.upload(blob);
  release(one[place].peek());
  one[place].value = { id: sent.id, width: sent.width, height: sent.height, blob, url: URL.createObjectURL(blob) };
}

/** Sends the pictures again: the server keeps uploads for an hour only. */
export async function showGuidesAgain() {
  for (const one of guides.peek()) {
    for (const place of places) {
      const p = one[place].peek();
      if (p?.blob) one[place].value = { ...p, id: (await api.upload(p.blob)).id };
    }
  }
  return guides.peek().length > 0;
}

const release = (picture) => picture && URL.revokeObjectURL(picture.url);

/** What is said of one, of its kind alone, with the ids of its pictures. */
function plain(one) {
  const kind = one.kind.value;
  const out = { kind };
  if (kind === "colour") out.colour = one.colour.value ?? "#808080";
  if (kind === "classifier") {
    out.classifier = one.classifier.value ?? classifiers.value[0]?.name ?? null;
    out.class = one.class.value;
  }
  for (const place of picturesOf(kind)) out[place] = one[place].value?.id ?? null;
  return out;
}

/** All of them as plain data, each with the ids of its pictures. */
export const guidances = () => guides.value.map(plain);

/** Restores what was there before the page was loaded again, and keeps what changes. */
export async function restoreGuides() {
  const said = load("guides");
  const files = (await loadFile("guides")) ?? [];
  if (Array.isArray(said) && !guides.peek().length) {
    said.forEach((one, i) => {
      const kept = (place) => files[i]?.[place]?.blob && { ...files[i][place], url: URL.createObjectURL(files[i][place].blob) };
      guide(one, { image: kept("image"), of: kept("of") });
    });
  }
  const saying = (one) => Object.fromEntries(Object.keys(usual).map((key) => [key, one[key].value]));
  effect(() => save("guides", guides.value.map(saying)));
  const file = (p) => p && { id: p.id, width: p.width, height: p.height, blob: p.blob };
  effect(() => {
    const list = guides.value.map((one) => ({ image: file(one.image.value), of: file(one.of.value) }));
    saveFile("guides", list.length ? list : null);
  });
}

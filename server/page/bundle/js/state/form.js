// What the form says. A value that is null is the default, which depends on the model.

import { debounce } from "../core/dom.js";
import { effect, signal } from "../core/signal.js";
import { load, loadFile, save, saveFile } from "../core/storage.js";
import { chosen } from "./models.js";

const defaults = {
  mode: "create", // or "picture", "inpaint", "upscale"
  prompt: "",
  negative: "",
  class: null,
  width: null,
  height: null,
  steps: null,
  cfg_scale: null,
  sampler: null,
  schedule: null,
  seed: "",
  count: null,
  strength: null,
  image_cfg_scale: null,
  mask_blur: null,
  mask_feather: null,
  mask_fill: null,
  only_masked: false,
  mask_padding: null,
  hires: false,
  hires_scale: null,
  hires_upscaler: null,
  hires_strength: null,
  hires_steps: null,
  guidance: null,
  guidance_options: {},
  sampler_options: {},
  clip_skip: null,
  rng: null,
  deep_cache: null,
  token_merging: null,
  cache: null,
  zero_snr: false,
  refiner: null,
  refiner_at: null,
  taesd: null,
  classifier: null,
  classifier_class: null,
  classifier_scale: null,
  guide_method: null,
  guide_options: {},
  format: null,
  upscaler: "",
  upscale_by: null,
  upscale_strength: null,
  further: {}, // of a picture's parameters, what the form has no place for
};

export const modes = ["create", "picture", "inpaint", "upscale"];

/** A signal for each value. */
export const form = Object.fromEntries(Object.entries(defaults).map(([key, value]) => [key, signal(value)]));

/** The picture to begin with: { id, width, height, blob, url }; id is the server's. */
export const source = signal(null);

/** What of it is repainted: { blob, url }, white on black. */
export const mask = signal(null);

/** All values as plain data. */
export const values = () => Object.fromEntries(Object.entries(form).map(([key, s]) => [key, s.value]));

/** Sets values, those that there are. */
export function assign(some) {
  for (const [key, value] of Object.entries(some)) {
    if (key in form) form[key].value = value;
  }
}

/** Sets everything to its default but the prompt, the mode and the picture. */
export function reset() {
  const { prompt, negative, mode, class: _, ...rest } = defaults;
  assign(rest);
}

/** Sets the picture to begin with. Its mask no longer fits, unless it stays the same one. */
export function begin(picture) {
  release(source.peek());
  source.value = picture;
  setMask(null);
}

/** Sets the mask, a PNG file, or none. */
export function setMask(blob) {
  release(mask.peek());
  mask.value = blob && { blob, url: URL.createObjectURL(blob) };
}

function release(one) {
  if (one?.url?.startsWith("blob:")) URL.revokeObjectURL(one.url);
}

const keepForm = debounce(200, (data) => save("form", data));

/** Restores what was there before the page was loaded again, and keeps what changes. */
export async function restore() {
  const saved = load("form");
  if (saved && typeof saved === "object") {
    for (const [key, value] of Object.entries(saved.values ?? {})) {
      const usual = defaults[key];
      if (key in form && (usual === null || typeof usual === typeof value)) form[key].value = value;
    }
    if (!modes.includes(form.mode.peek())) form.mode.value = "create";
    chosen.value = String(saved.model ?? "");
  }
  effect(() => keepForm({ values: values(), model: chosen.value }));
  const kept = await loadFile("source");
  if (kept?.blob && !source.peek()) {
    source.value = { ...kept, url: URL.createObjectURL(kept.blob) };
    const blob = await loadFile("mask");
    if (blob) setMask(blob);
  }
  effect(() => {
    const s = source.value;
    saveFile("source", s?.blob && { id: s.id, width: s.width, height: s.height, blob: s.blob });
  });
  effect(() => saveFile("mask", mask.value?.blob ?? null));
}

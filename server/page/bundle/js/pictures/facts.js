// Parameters of a picture as a list for people.

import { h } from "../core/dom.js";

const labels = {
  seed: "Seed",
  steps: "Steps",
  sampler: "Sampler",
  schedule: "Schedule",
  cfg_scale: "Guidance",
  strength: "Strength",
  clip_skip: "CLIP skip",
  rng: "Noise of",
  mask_blur: "Mask blur",
  class: "Class",
  guidance: "Kind of guidance",
  refiner: "Refiner",
  taesd: "Tiny decoder",
};
const apart = ["prompt", "negative", "width", "height", "hires", "count"];

const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : String(value));

function hires(passes) {
  return passes
    .map((p) =>
      [p.size ?? `${p.scale ?? 2} ×`, p.upscaler, p.strength !== undefined && `strength ${p.strength}`].filter(Boolean).join(", "),
    )
    .join("; ");
}

/** The elements for { request, model, unread } as the server reads them. */
export function facts({ request, model, unread }) {
  const rows = [];
  if (request.width) rows.push(["Size", `${request.width} × ${request.height}`]);
  for (const [key, value] of Object.entries(request)) {
    if (!apart.includes(key) && value !== null) rows.push([labels[key] ?? key.replaceAll("_", " "), plain(value)]);
  }
  if (Array.isArray(request.hires)) rows.push(["Second pass", hires(request.hires)]);
  if (model) rows.push(["Model", model]);
  for (const u of unread ?? []) rows.push([u.key || "Other text", u.value, true]);
  return [
    request.prompt && h("p.prompt-text", {}, request.prompt),
    request.negative && h("p.negative-text", {}, h("span.about", {}, "Not: "), request.negative),
    h(
      "dl",
      {},
      rows.map(([name, value, foreign]) => h(foreign ? "div.foreign" : "div", {}, h("dt", {}, name), h("dd", {}, value))),
    ),
  ];
}

// How pictures are made: the parts of the form below the prompt. A further part, such as
// that of ControlNets, is one more entry of the list at the end.

import { h, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { form, reset, source } from "../state/form.js";
import { capabilities, named, nativeGuidance, nativeSize, upscalers, variant } from "../state/models.js";
import { aligned, inpaintStrength } from "../state/order.js";
import { adapters } from "./adapters.js";
import { choiceField, numberField, parameterFields, section, selectField, toggleField } from "./controls.js";
import { seedField } from "./seed.js";
import { sizeFields } from "./size.js";

const drawing = () => form.mode.value !== "upscale" || !form.upscaler.value;
const percent = { min: 0, max: 1, step: 0.05 };

/** A registry's entries as options. */
const options = (list) => list.map((s) => ({ value: s.name, label: s.name }));

/** What the registry says of the entry that was chosen. */
const about = (list, name) => list.find((s) => s.name === name || s.aliases.includes(name));

const usualSteps = 20;
const usualSampler = "euler_a";

/** How a picture to begin with is used. */
function ofPicture() {
  const usual = () => (form.mode.value === "inpaint" ? inpaintStrength : 0.75);
  return [
    numberField({ label: "Strength", help: "How much of the picture is replaced", value: form.strength, usual, range: percent, slide: [0, 1] }),
    variant.value === "edit" && numberField({ label: "Picture guidance", help: "How closely the model keeps to the picture", value: form.image_cfg_scale, usual: () => 1.5, range: { min: 0, max: 1000, step: 0.1 }, slide: [0, 5] }),
  ];
}

/** What the mask does. */
function ofMask() {
  const fills = [["original", "The picture"], ["fill", "Colours around it"], ["noise", "Noise"], ["nothing", "Nothing"]];
  return [
    selectField({ label: "Begin with", value: form.mask_fill, options: () => fills.slice(1).map(([value, label]) => ({ value, label })), usual: () => fills[0][1], same: () => fills[0][0] }),
    numberField({ label: "Blur", help: "Softens the mask's edges", value: form.mask_blur, usual: () => 0, range: { min: 0, max: 256, step: 1 }, slide: [0, 64] }),
    toggleField({ label: "Only the masked area", help: "Draws the part around the mask at the full size, and puts it back", value: form.only_masked }),
    render(h("div"), () => form.only_masked.value && numberField({ label: "Margin", help: "Pixels around the mask that are drawn along", value: form.mask_padding, usual: () => 32, range: { min: 0, max: 4096, whole: true }, slide: [0, 256] })),
  ];
}

function upscaling() {
  const networks = upscalers.value.map((name) => ({ value: name, label: name }));
  return [
    h("div.field.wide", {}, h("label", { htmlFor: "upscaler" }, "Method"),
      h("select", { id: "upscaler", onchange: (e) => { form.upscaler.value = e.target.value; } },
        [{ value: "", label: "Draw again, larger" }, ...networks].map((o) => h("option", { value: o.value, selected: o.value === form.upscaler.value }, o.label)))),
    numberField({ label: "Scale", value: form.upscale_by, usual: () => 2, range: { min: 1, max: 16, step: 0.5 }, slide: [1, 8] }),
    render(h("div"), () => drawing() && numberField({ label: "Change", help: "How much may change", value: form.upscale_strength, usual: () => 0.3, range: percent, slide: [0, 1] })),
    render(h("p.about"), () => source.value && `${source.value.width} × ${source.value.height} becomes ${[source.value.width, source.value.height].map((n) => Math.round(n * (form.upscale_by.value ?? 2))).join(" × ")}`),
  ];
}

function size() {
  const usual = () => {
    const s = form.mode.value !== "create" && source.value;
    return s ? { width: aligned(s.width), height: aligned(s.height) } : { width: nativeSize.value, height: nativeSize.value };
  };
  return sizeFields(usual);
}

function sampling() {
  const list = () => capabilities.value?.samplers ?? [];
  const schedules = () => capabilities.value?.schedules ?? [];
  const chosen = () => about(list(), form.sampler.value ?? usualSampler);
  return [
    numberField({ label: "Steps", value: form.steps, usual: () => usualSteps, range: { min: 1, max: capabilities.peek()?.limits.steps ?? 1000, whole: true }, slide: [1, 60] }),
    numberField({ label: "Guidance", help: "How closely to follow the prompt; 1 is without guidance", value: form.cfg_scale, usual: () => nativeGuidance.value, range: { min: 0, max: 1000, step: 0.5 }, slide: [1, 15] }),
    selectField({ label: "Sampler", value: form.sampler, options: () => options(list()), usual: () => usualSampler }),
    h("p.about", {}, () => chosen()?.description ?? ""),
    selectField({ label: "Schedule", help: "The noise levels of the steps", value: form.schedule, options: () => options(schedules()), usual: () => chosen()?.schedule ?? "discrete" }),
  ];
}

function hires() {
  const filters = () => (capabilities.value?.upscalers ?? []).map((name) => ({ value: name, label: name }));
  return section("Second pass", () => (form.hires.value ? `${form.hires_scale.value ?? 2} ×, drawn again larger` : "off"), form.hires.peek(),
    toggleField({ label: "Draw again, larger", value: form.hires }),
    render(h("div.column"), () => form.hires.value && [
      numberField({ label: "Scale", spoken: "Scale of the second pass", value: form.hires_scale, usual: () => 2, range: { min: 1, max: 8, step: 0.25 }, slide: [1, 4] }),
      numberField({ label: "Strength", spoken: "Strength of the second pass", help: "How much of the enlarged picture is replaced", value: form.hires_strength, usual: () => 0.7, range: percent, slide: [0, 1] }),
      numberField({ label: "Steps", spoken: "Steps of the second pass", value: form.hires_steps, usual: () => form.steps.value ?? usualSteps, range: { min: 1, max: 1000, whole: true }, slide: [1, 60] }),
      selectField({ label: "Upscaler", value: form.hires_upscaler, options: filters, usual: () => "latent" }),
    ]));
}

function advanced() {
  const guidance = () => capabilities.value?.guidance ?? [];
  const samplers = () => capabilities.value?.samplers ?? [];
  const names = (kind) => named(kind).map((name) => ({ value: name, label: name }));
  return section("More", () => "guidance, noise, format", false,
    h("h3", {}, "Guidance"),
    selectField({ label: "Kind", spoken: "Kind of guidance", value: form.guidance, options: () => options(guidance()), usual: () => "cfg" }),
    h("p.about", {}, () => about(guidance(), form.guidance.value ?? "cfg")?.description ?? ""),
    render(h("div.grid"), () => parameterFields(form.guidance_options, about(guidance(), form.guidance.value ?? "cfg")?.parameters ?? [])),
    render(h("div.column"), () => {
      const s = about(samplers(), form.sampler.value ?? usualSampler);
      return s?.parameters.length ? [h("h3", {}, `Numbers of ${s.name}`), h("div.grid", {}, parameterFields(form.sampler_options, s.parameters))] : null;
    }),
    h("h3", {}, "Model"),
    numberField({ label: "CLIP skip", help: "Leaves out the text encoder's last layers", value: form.clip_skip, usual: () => "model’s", range: { min: 1, max: 12, whole: true } }),
    numberField({ label: "DeepCache", help: "Computes the inner blocks in every Nth step only: faster, another picture", value: form.deep_cache, usual: () => 1, range: { min: 1, max: 1000, whole: true } }),
    selectField({ label: "Noise of", value: form.rng, options: () => [{ value: "philox", label: "AUTOMATIC1111 (philox)" }], usual: () => "diffusers, ComfyUI (torch)", same: () => "torch" }),
    toggleField({ label: "Zero terminal SNR", help: "For a model that was trained so and whose file does not say it", value: form.zero_snr }),
    render(h("div.column"), () => [
      names("refiner").length > 0 && selectField({ label: "Refiner", value: form.refiner, options: () => names("refiner"), usual: () => "none" }),
      names("taesd").length > 0 && selectField({ label: "Tiny decoder", value: form.taesd, options: () => names("taesd"), usual: () => "none" }),
    ]),
    selectField({ label: "Format", value: form.format, options: () => (capabilities.value?.formats ?? []).slice(1).map((f) => ({ value: f, label: f })), usual: () => "png" }),
    h("button.quiet", { type: "button", onclick: reset }, icon("reset"), "All back to the defaults"));
}

/** What a picture's parameters have that the form has no field for. */
function further() {
  const rest = Object.entries(form.further.value);
  if (!rest.length) return null;
  const drop = (key) => {
    const { [key]: _, ...others } = form.further.peek();
    form.further.value = others;
  };
  return section("From the picture", () => rest.map(([key]) => key).join(", "), true, h("ul.chips", {}, rest.map(([key, value]) =>
    h("li", {}, h("span", {}, `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`),
      h("button.quiet.round", { type: "button", "aria-label": `Remove ${key}`, title: "Remove", onclick: () => drop(key) }, icon("close"))))));
}

/** The sections for the mode that is chosen. */
function sections() {
  const mode = form.mode.value;
  const withPicture = mode === "picture" || mode === "inpaint";
  return [
    mode === "upscale" && h("div.card", {}, upscaling()),
    withPicture && h("div.card", {}, ofPicture(), mode === "inpaint" && ofMask()),
    mode !== "upscale" && h("div.card", {}, size()),
    drawing() && h("div.card", {}, sampling(), seedField(),
      mode !== "upscale" && numberField({ label: "Pictures", value: form.count, usual: () => 1, range: { min: 1, max: capabilities.peek()?.limits.pictures ?? 64, whole: true }, slide: [1, 16] })),
    h("div.column.tight", {},
      drawing() && adapters(),
      (mode === "create" || mode === "picture") && hires(),
      drawing() && further(),
      drawing() && advanced()),
  ];
}

/** All settings. */
export const settings = () => render(h("div.settings"), sections);

/** What to do: the form's modes. */
export const modeField = () => choiceField({
  label: "What to do", value: form.mode,
  options: [{ value: "create", label: "Create" }, { value: "picture", label: "Image" }, { value: "inpaint", label: "Inpaint" }, { value: "upscale", label: "Upscale" }],
});

// The parts of the form that are closed at first: the second pass, and what few need.

import { h, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { form, reset } from "../state/form.js";
import { capabilities, named, usualSteps } from "../state/models.js";
import { numberField, parameterFields, section, selectField, toggleField } from "./controls.js";
import { choosing, guider, options, percent, sampler } from "./sampling.js";

/** The pass that draws the picture again, larger. */
export function hires() {
  const filters = () => (capabilities.value?.upscalers ?? []).map((name) => ({ value: name, label: name }));
  return section(
    "Second pass",
    () => (form.hires.value ? `${form.hires_scale.value ?? 2} ×, drawn again larger` : "off"),
    form.hires.peek(),
    toggleField({ label: "Draw again, larger", value: form.hires }),
    render(
      h("div.column"),
      () =>
        form.hires.value && [
          numberField({
            label: "Scale",
            spoken: "Scale of the second pass",
            value: form.hires_scale,
            usual: () => 2,
            range: { min: 1, max: 8, step: 0.25 },
            slide: [1, 4],
          }),
          numberField({
            label: "Strength",
            spoken: "Strength of the second pass",
            help: "How much of the enlarged picture is replaced",
            value: form.hires_strength,
            usual: () => 0.7,
            range: percent,
            slide: [0, 1],
          }),
          numberField({
            label: "Steps",
            spoken: "Steps of the second pass",
            value: form.hires_steps,
            usual: () => form.steps.value ?? usualSteps.value,
            range: { min: 1, max: 1000, whole: true },
            slide: [1, 60],
          }),
          selectField({ label: "Upscaler", value: form.hires_upscaler, options: filters, usual: () => "latent" }),
        ],
    ),
  );
}

/** Kinds of guidance, numbers of samplers, the model, the format. */
export function advanced() {
  const guidance = () => capabilities.value?.guidance ?? [];
  const names = (kind) => named(kind).map((name) => ({ value: name, label: name }));
  return section(
    "More",
    () => "guidance, noise, format",
    false,
    h("h3", {}, "Guidance"),
    selectField({
      label: "Kind",
      spoken: "Kind of guidance",
      value: choosing(form.guidance, form.guidance_options, guider),
      options: () => options(guidance()),
      usual: () => "cfg",
    }),
    h("p.about", {}, () => guider()?.description ?? ""),
    render(h("div.grid"), () => parameterFields(form.guidance_options, guider()?.parameters ?? [])),
    render(h("div.column"), () => {
      const s = sampler();
      return s?.parameters.length
        ? [h("h3", {}, `Numbers of ${s.name}`), h("div.grid", {}, parameterFields(form.sampler_options, s.parameters))]
        : null;
    }),
    h("h3", {}, "Model"),
    numberField({
      label: "CLIP skip",
      help: "Leaves out the text encoder's last layers",
      value: form.clip_skip,
      usual: () => "model’s",
      range: { min: 1, max: 12, whole: true },
    }),
    numberField({
      label: "DeepCache",
      help: "Computes the inner blocks in every Nth step only: faster, another picture",
      value: form.deep_cache,
      usual: () => 1,
      range: { min: 1, max: 1000, whole: true },
    }),
    numberField({
      label: "Token merging",
      help: "Averages this part of similar tokens in self-attention: faster from 512x512 on, another picture",
      value: form.token_merging,
      usual: () => 0,
      range: { min: 0, max: 0.9, step: 0.05 },
    }),
    selectField({
      label: "Step cache",
      help: "Leaves out evaluations of the network that can be told from earlier ones: faster, another picture",
      value: form.cache,
      options: () => options(capabilities.value?.step_caches ?? []),
      usual: () => "none",
    }),
    selectField({
      label: "Noise of",
      value: form.rng,
      options: () => [{ value: "philox", label: "AUTOMATIC1111 (philox)" }],
      usual: () => "diffusers, ComfyUI (torch)",
      same: () => "torch",
    }),
    toggleField({
      label: "Zero terminal SNR",
      help: "For a model that was trained so and whose file does not say it",
      value: form.zero_snr,
    }),
    render(h("div.column"), () => [
      names("refiner").length > 0 &&
        selectField({ label: "Refiner", value: form.refiner, options: () => names("refiner"), usual: () => "none" }),
      names("taesd").length > 0 &&
        selectField({ label: "Tiny decoder", value: form.taesd, options: () => names("taesd"), usual: () => "none" }),
    ]),
    selectField({
      label: "Format",
      value: form.format,
      options: () => (capabilities.value?.formats ?? []).slice(1).map((f) => ({ value: f, label: f })),
      usual: () => "png",
    }),
    h("button.quiet", { type: "button", onclick: reset }, icon("reset"), "All back to the defaults"),
  );
}

/** What a picture's parameters have that the form has no field for. */
export function further() {
  const rest = Object.entries(form.further.value);
  if (!rest.length) return null;
  const drop = (key) => {
    const { [key]: _, ...others } = form.further.peek();
    form.further.value = others;
  };
  return section(
    "From the picture",
    () => rest.map(([key]) => key).join(", "),
    true,
    h(
      "ul.chips",
      {},
      rest.map(([key, value]) =>
        h(
          "li",
          {},
          h("span", {}, `${key}: ${typeof value === "string" ? value : JSON.stringify(value)}`),
          h(
            "button.quiet.round",
            { type: "button", "aria-label": `Remove ${key}`, title: "Remove", onclick: () => drop(key) },
            icon("close"),
          ),
        ),
      ),
    ),
  );
}

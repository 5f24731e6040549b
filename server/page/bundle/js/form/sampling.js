// How pictures are drawn: steps, guidance, sampler, schedule.

import { h } from "../core/dom.js";
import { form } from "../state/form.js";
import { capabilities, nativeGuidance, usualSampler, usualSchedule, usualSteps } from "../state/models.js";
import { numberField, selectField } from "./controls.js";

export const percent = { min: 0, max: 1, step: 0.05 };

/** A registry's entries as options. */
export const options = (list) => list.map((s) => ({ value: s.name, label: s.name }));

/** What the registry says of the entry that was chosen. */
const about = (list, name) => list.find((s) => s.name === name || s.aliases.includes(name));

/** The sampler that is used. */
export const sampler = () => about(capabilities.value?.samplers ?? [], form.sampler.value ?? usualSampler.value);

/** The kind of guidance that is used. */
export const guider = () => about(capabilities.value?.guidance ?? [], form.guidance.value ?? "cfg");

/** A choice whose numbers go where what is chosen next does not take them. */
export const choosing = (choice, numbers, chosen) => ({
  get value() {
    return choice.value;
  },
  set value(name) {
    choice.value = name;
    const takes = (chosen()?.parameters ?? []).map((p) => p.name);
    numbers.value = Object.fromEntries(Object.entries(numbers.peek()).filter(([key]) => takes.includes(key)));
  },
});

/** The fields that most pictures are made with. */
export function sampling() {
  const list = () => capabilities.value?.samplers ?? [];
  const schedules = () => capabilities.value?.schedules ?? [];
  return [
    numberField({
      label: "Steps",
      value: form.steps,
      usual: () => usualSteps.value,
      range: { min: 1, max: capabilities.peek()?.limits.steps ?? 1000, whole: true },
      slide: [1, 60],
    }),
    numberField({
      label: "Guidance",
      help: "How closely to follow the prompt; 1 is without guidance",
      value: form.cfg_scale,
      usual: () => nativeGuidance.value,
      range: { min: 0, max: 1000, step: 0.5 },
      slide: [1, 15],
    }),
    selectField({
      label: "Sampler",
      value: choosing(form.sampler, form.sampler_options, sampler),
      options: () => options(list()),
      usual: () => usualSampler.value,
    }),
    h("p.about", {}, () => sampler()?.description ?? ""),
    selectField({
      label: "Schedule",
      help: "The noise levels of the steps",
      value: form.schedule,
      options: () => options(schedules()),
      usual: () => (form.sampler.value === null && usualSchedule.value) || (sampler()?.schedule ?? "discrete"),
    }),
  ];
}

// What the server has: models, and what requests may ask of them.

import * as api from "../core/api.js";
import { computed, derived, signal } from "../core/signal.js";

export const capabilities = signal(null);
export const all = signal([]);

/** The name of the model that was chosen; "" is the server's default. */
export const chosen = signal("");

const generating = ["checkpoint", "refiner"];

/** Models that make pictures. */
export const checkpoints = computed(() => all.value.filter((m) => generating.includes(m.kind)));

/** The model that is used, or undefined. */
export const model = computed(() => {
  const list = checkpoints.value;
  return list.find((m) => m.name === chosen.value) ?? list.find((m) => m.default) ?? list[0];
});

/** Names of one kind: "lora", "embedding", "taesd" … */
export const named = (kind) => names.value[kind] ?? [];

// What follows from a model's description changes more seldom than its state.
const names = derived(() => {
  const out = {};
  for (const m of all.value) (out[m.kind] ??= []).push(m.name);
  return out;
});

/** The names of a model's classes, in their order; empty for models that take prompts. */
export const classes = derived(() => model.value?.classes ?? []);

/** What tells the model what to draw: "text", "class", "number" or "nothing". */
export const drawsFrom = derived(() => model.value?.draws_from ?? (model.value?.classes ? "class" : "text"));

/** Whether a class may be left out. */
export const classOptional = derived(() => model.value?.class_optional ?? false);

/** "edit", "inpaint" and "enlarge" are models of a kind of their own. */
export const variant = computed(() => model.value?.variant ?? "");

/** Networks that enlarge pictures. */
export const upscalers = computed(() => named("upscaler"));

/** The default of the sizes, where no picture is given. */
export const nativeSize = computed(() => model.value?.native_size || 512);

/** The default of the guidance scale. */
export const nativeGuidance = computed(() => model.value?.guidance || 7);

/** The defaults of how pictures are drawn. */
export const usualSteps = computed(() => model.value?.steps || 20);
export const usualSampler = computed(() => model.value?.sampler || "euler_a");
export const usualSchedule = computed(() => model.value?.schedule || "");

/** Reads everything anew. */
export async function refresh() {
  if (!capabilities.peek()) capabilities.value = await api.capabilities();
  keep(await api.models());
}

/** Looks for new files, too. */
export async function rescan() {
  keep(await api.rescan());
}

function keep(list) {
  if (JSON.stringify(list) !== JSON.stringify(all.peek())) all.value = list;
}

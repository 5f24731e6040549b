// LoRAs: those of the prompt with their weights, and those that there are.

import { h, newID, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { form } from "../state/form.js";
import { drawsFrom, named } from "../state/models.js";
import { insertion, lorasOf, reweighed } from "./completion.js";
import { section } from "./controls.js";

const set = (tag, weight) => {
  form.prompt.value = reweighed(form.prompt.peek(), tag, weight);
};

/** The section, where there are LoRAs. */
export function adapters() {
  const names = named("lora");
  if (!names.length || drawsFrom.value !== "text") return null;
  const add = (e) => {
    const name = e.target.value;
    e.target.value = "";
    if (name) form.prompt.value = `${form.prompt.peek().trimEnd()} ${insertion("lora", name)}`.trimStart();
  };
  const id = newID("lora");
  return section(
    "LoRAs",
    () =>
      lorasOf(form.prompt.value)
        .map((t) => t.name)
        .join(", ") || "none",
    false,
    render(h("div.column"), () => lorasOf(form.prompt.value).map(row)),
    h(
      "div.field.wide",
      {},
      h("label", { htmlFor: id }, "Add"),
      h(
        "select",
        { id, onchange: add },
        h("option", { value: "" }, `${names.length} of them`),
        names.map((n) => h("option", { value: n }, n)),
      ),
    ),
  );
}

function row(tag) {
  return h(
    "div.field.lora",
    {},
    h("span.name", {}, tag.name),
    h("input.number", {
      type: "number",
      step: 0.05,
      value: String(tag.weight),
      "aria-label": `Weight of ${tag.name}`,
      onchange: (e) => set(tag, Number(e.target.value) || 0),
    }),
    h(
      "button.quiet.round",
      { type: "button", "aria-label": `Remove ${tag.name}`, title: "Remove", onclick: () => set(tag, null) },
      icon("close"),
    ),
  );
}

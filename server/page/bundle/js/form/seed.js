// The seed: a number, or a new one for each picture.

import { h, newID } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { form } from "../state/form.js";
import { front } from "../state/jobs.js";

/** The seed's field. */
export function seedField() {
  const id = newID("seed");
  const last = () => front.value?.pictures.at(-1)?.seed;
  const input = h("input.number", {
    id,
    type: "text",
    inputMode: "numeric",
    pattern: "[0-9]{0,20}",
    placeholder: "random",
    value: () => form.seed.value,
    onchange: (e) => {
      const digits = e.target.value.trim();
      form.seed.value = /^\d{1,20}$/.test(digits) ? digits : "";
      e.target.value = form.seed.value;
    },
  });
  return h(
    "div.field.seed",
    {},
    h("label", { htmlFor: id }, "Seed"),
    h(
      "button.quiet.round",
      {
        type: "button",
        title: "A random seed",
        "aria-label": "A random seed",
        "aria-pressed": () => form.seed.value === "",
        onclick: () => {
          form.seed.value = "";
        },
      },
      icon("dice"),
    ),
    h(
      "button.quiet.round",
      {
        type: "button",
        title: "The seed of the last picture",
        "aria-label": "The seed of the last picture",
        disabled: () => last() === undefined,
        onclick: () => {
          form.seed.value = String(last());
        },
      },
      icon("reuse"),
    ),
    input,
  );
}

// The form: what to draw, how, and the button that does it.

import { h, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { generate } from "../state/actions.js";
import { form } from "../state/form.js";
import { active } from "../state/jobs.js";
import { classOptional, classes, drawsFrom, upscalers } from "../state/models.js";
import { classField } from "./classes.js";
import { numberField } from "./controls.js";
import { promptField } from "./prompt.js";
import { modeField, settings } from "./settings.js";
import { sourceField } from "./source.js";

// What is in place of the prompts of models that take no text.
const withoutText = {
  class: () => classField({ value: form.class, list: () => classes.value, optional: () => classOptional.value }),
  number: () =>
    numberField({
      label: "What to draw",
      help: "A number from 0 to 1, as the model was trained with",
      value: form.class,
      range: { min: 0, max: 1, step: 0.01 },
      slide: [0, 1],
    }),
  nothing: () => h("p.about", {}, "This model draws freely: there is nothing to say."),
};

function words() {
  if (form.mode.value === "upscale" && form.upscaler.value && upscalers.value.length) return null;
  if (drawsFrom.value !== "text") return withoutText[drawsFrom.value]();
  return [
    promptField({ label: "Prompt", value: form.prompt, spec: "positive", placeholder: "What to draw" }),
    promptField({ label: "Negative prompt", value: form.negative, spec: "negative", placeholder: "What not to draw" }),
  ];
}

function button() {
  const label = () => (form.mode.value === "upscale" ? "Upscale" : "Generate");
  const waiting = () => active.value.length;
  return h(
    "div.go",
    {},
    h("button.primary", { type: "submit", id: "generate" }, icon("spark"), label, h("kbd", { "aria-hidden": "true" }, "Ctrl ↵")),
    h("span.about", { hidden: () => !waiting() }, () =>
      waiting() === 1 ? "One job in the queue; the next one waits for it." : `${waiting()} jobs in the queue.`,
    ),
  );
}

/** Puts the form into its place. */
export function mountForm(el) {
  el.addEventListener("submit", (e) => {
    e.preventDefault();
    const focus = document.activeElement;
    focus?.blur(); // so that a number that is being written counts
    generate();
    focus?.focus({ preventScroll: true });
  });
  el.append(
    h(
      "div.scroll",
      {},
      modeField(),
      render(h("div"), () => form.mode.value !== "create" && sourceField()),
      render(h("div.column"), words),
      settings(),
    ),
    button(),
  );
}

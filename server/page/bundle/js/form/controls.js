// Fields of the form: each is a label and an input for a signal whose null is the
// default, which the input shows in grey.

import { h, newID, render } from "../core/dom.js";
import { icon } from "../core/icons.js";

/** A button that sets a signal to its default again. */
function resetButton(value, label) {
  return h(
    "button.quiet.reset",
    {
      type: "button",
      title: `${label}: back to the default`,
      "aria-label": `${label}: back to the default`,
      hidden: () => value.value === null,
      onclick: () => {
        value.value = null;
      },
    },
    icon("reset"),
  );
}

/** The nearest number that is allowed. */
function within(text, { min = -Infinity, max = Infinity, whole = false, multiple = whole ? 1 : 0 }) {
  const n = Number(text);
  if (text === "" || !Number.isFinite(n)) return null;
  const near = multiple ? Math.round(n / multiple) * multiple : n;
  return Math.min(max, Math.max(min, near));
}

/**
 * A number with a slider. range: min, max, step, whole, multiple; slide: the slider's min and max,
 * where the range is wider. usual() is the default, spoken the label where others have the
 * same one.
 */
export function numberField({ label, spoken = label, help, value, usual = () => "", range = {}, slide }) {
  const id = newID("number");
  const step = range.step ?? (range.whole ? 1 : "any");
  const set = (text) => {
    value.value = within(text, range);
  };
  const input = h("input.number", {
    id,
    type: "number",
    min: range.min ?? "",
    max: range.max ?? "",
    step,
    inputMode: range.whole ? "numeric" : "decimal",
    placeholder: () => String(usual()),
    "aria-label": spoken === label ? null : spoken,
    value: () => String(value.value ?? ""),
    title: help ?? "",
    onchange: (e) => {
      set(e.target.value);
      e.target.value = value.value ?? "";
    },
  });
  const slider =
    slide &&
    h("input.slider", {
      type: "range",
      min: slide[0],
      max: slide[1],
      step: range.step ?? 1,
      "aria-label": `${spoken}, slider`,
      value: () => String(value.value ?? usual()),
      oninput: (e) => set(e.target.value),
      "--part": () => Math.min(1, Math.max(0, (Number(value.value ?? usual()) - slide[0]) / (slide[1] - slide[0]))),
    });
  return h(slider ? "div.field.slides" : "div.field", {}, h("label", { htmlFor: id }, label), resetButton(value, spoken), input, slider);
}

/**
 * A choice of a list. options() are { value, label }; usual() is the default's label, and
 * same() its value, which is one and the same choice.
 */
export function selectField({ label, spoken = label, help, value, options, usual, same = usual }) {
  const id = newID("select");
  const select = h("select", {
    id,
    title: help ?? "",
    "aria-label": spoken === label ? null : spoken,
    onchange: (e) => {
      value.value = e.target.value || null;
    },
  });
  render(select, () => {
    const list = options().filter((o) => o.value !== same());
    const now = value.value === same() ? "" : (value.value ?? "");
    const known = now === "" || list.some((o) => o.value === now);
    const all = [{ value: "", label: usual() }, ...list, !known && { value: now, label: now }].filter(Boolean);
    return all.map((o) => h("option", { value: o.value, selected: o.value === now }, o.label));
  });
  return h("div.field.wide", {}, h("label", { htmlFor: id }, label), resetButton(value, spoken), select);
}

/** A switch. */
export function toggleField({ label, help, value }) {
  const id = newID("toggle");
  return h(
    "div.field.toggle",
    { title: help ?? "" },
    h("label", { htmlFor: id }, label),
    h("input", {
      id,
      type: "checkbox",
      role: "switch",
      checked: () => value.value,
      onchange: (e) => {
        value.value = e.target.checked;
      },
    }),
  );
}

/** Buttons of which one is pressed. options are { value, label }. */
export function choiceField({ label, value, options, spec = "segments" }) {
  const name = newID("choice");
  return h(
    "fieldset." + spec,
    {},
    h("legend.hidden", {}, label),
    options.map((o) => {
      const id = newID("option");
      return [
        h("input", {
          type: "radio",
          id,
          name,
          checked: () => value.value === o.value,
          onchange: () => {
            value.value = o.value;
          },
        }),
        h("label", { htmlFor: id }, o.label),
      ];
    }),
  );
}

/** The numbers that a sampler or a kind of guidance takes, as the server lists them. */
export function parameterFields(values, list) {
  return list.map((p) => {
    const value = {
      get value() {
        return values.value[p.name] ?? null;
      },
      set value(v) {
        values.value = { ...values.peek(), [p.name]: v };
      },
    };
    return numberField({
      label: p.name.replaceAll("_", " "),
      help: p.help,
      value,
      usual: () => p.default ?? "∞",
      range: { min: p.min, max: p.max, whole: p.integer },
    });
  });
}

/** A part of the form that opens and closes; summary() says what is in it. */
export function section(title, summary, open, ...children) {
  return h(
    "details.section",
    { open },
    h("summary", {}, h("span.title", {}, title), h("span.about", {}, summary)),
    h("div.body", {}, children),
  );
}

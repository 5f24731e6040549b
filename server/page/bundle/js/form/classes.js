// For models that draw by class: a list of the classes in place of a prompt.

import { h, newID, render } from "../core/dom.js";
import { signal } from "../core/signal.js";

const most = 200;

/** The field of a class; list() are the names, in their order; optional() says whether none is right, too. */
export function classField({ value, list, optional }) {
  const id = newID("class");
  const find = signal("");
  const box = h("div.classes", { role: "radiogroup", "aria-label": "Classes" });
  const name = newID("classes");
  render(box, () => {
    const part = find.value.trim().toLowerCase();
    const all = list()
      .map((label, n) => ({ label, n: String(n) }))
      .filter((c) => !part || c.label.toLowerCase().includes(part) || c.n === part);
    const shown = all.slice(0, most).map((c) => {
      const own = newID("class");
      return h(
        "span",
        {},
        h("input", {
          type: "radio",
          name,
          id: own,
          checked: () => value.value === c.n,
          onchange: () => {
            value.value = c.n;
          },
        }),
        h("label", { htmlFor: own }, h("span.nr", {}, c.n), c.label),
      );
    });
    return [
      shown,
      all.length > most && h("p.about", {}, `${all.length - most} more; write a part of the name.`),
      !all.length && h("p.about", {}, "No class has this name."),
    ];
  });
  return h(
    "div.prompt.class",
    {},
    h(
      "div.row.between",
      {},
      h("label", { htmlFor: id }, "What to draw"),
      h("span.tokens", {}, () => chosenName(list(), value.value)),
      render(
        h("span"),
        () =>
          optional() &&
          value.value !== null &&
          h("button.quiet", { type: "button", onclick: () => (value.value = null) }, "None"),
      ),
    ),
    h("input", {
      id,
      type: "search",
      placeholder: () => `Find one of ${list().length} classes`,
      oninput: (e) => {
        find.value = e.target.value;
      },
    }),
    box,
  );
}

const chosenName = (list, n) => (n === null ? "" : (list[Number(n)] ?? n));

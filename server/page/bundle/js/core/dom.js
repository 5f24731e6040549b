// Elements. Texts only ever become text nodes or attributes: what a foreign picture says
// is shown, never interpreted.

import { effect } from "./signal.js";

/**
 * Makes an element: h("p.note", { title: "…" }, "text", child). A property that is a
 * function is kept up to date, but for those that begin with "on", which are listeners;
 * so is a child that is a function, a text.
 */
export function h(spec, props = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const el = document.createElement(tag);
  if (classes.length) el.className = classes.join(" ");
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (typeof value === "function") effect(() => assign(el, name, value()));
    else assign(el, name, value);
  }
  el.append(...nodes(children));
  return el;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((c) => c != null && c !== false)
    .map((child) => {
      if (typeof child !== "function") return child;
      const text = document.createTextNode("");
      effect(() => {
        text.data = child() ?? "";
      });
      return text;
    });
}

function assign(el, name, value) {
  if (name.startsWith("--")) el.style.setProperty(name, value);
  else if (name.startsWith("aria-")) {
    if (value == null) el.removeAttribute(name);
    else el.setAttribute(name, value);
  } else if (name in el) {
    // The same text would move the cursor; an option without a value has that of its label, which comes later.
    if (name !== "value" || el.value !== value || el.localName === "option") el[name] = value;
  } else if (value == null || value === false) el.removeAttribute(name);
  else el.setAttribute(name, value === true ? "" : value);
}

/** Replaces an element's children, again whenever what make reads changes. */
export function render(el, make) {
  effect(() => el.replaceChildren(...nodes([make()])));
  return el;
}

/** The dialog that is in front of everything, or undefined. */
export const topDialog = () => [...document.querySelectorAll("dialog[open]")].at(-1);

let count = 0;

/** An id for labels. */
export const newID = (word) => `${word}-${++count}`;

/** Waits until nothing was called for a time. */
export function debounce(ms, run) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(run, ms, ...args);
  };
}

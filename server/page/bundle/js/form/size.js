// Width and height: presets of proportions at the model's own size, and both numbers.

import { h } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { form } from "../state/form.js";
import { capabilities, nativeSize } from "../state/models.js";
import { aligned } from "../state/order.js";
import { numberField } from "./controls.js";

const proportions = [
  [1, 1],
  [5, 4],
  [3, 2],
  [16, 9],
];

/** The size with a proportion that has about as many pixels as the model's own. */
function sizeOf([w, h], native) {
  const by = native >= 512 ? 64 : 8;
  return [aligned(native * Math.sqrt(w / h), by), aligned(native * Math.sqrt(h / w), by)];
}

/** The fields of the size. usual() is the default, as { width, height }. */
export function sizeFields(usual) {
  const now = () => [form.width.value ?? usual().width, form.height.value ?? usual().height];
  const set = ([w, h]) => {
    form.width.value = w;
    form.height.value = h;
  };
  const upright = () => now()[0] < now()[1];
  const preset = (p) => {
    const size = () => sizeOf(upright() ? [p[1], p[0]] : p, nativeSize.value);
    const label = () => (upright() ? [p[1], p[0]] : p).join(":");
    return h(
      "button.preset",
      {
        type: "button",
        onclick: () => set(size()),
        title: () => size().join(" × "),
        "aria-pressed": () => size().every((n, i) => n === now()[i]),
      },
      h("span.shape", { "--w": () => (upright() ? p[1] / p[0] : 1), "--h": () => (upright() ? 1 : p[1] / p[0]) }),
      label,
    );
  };
  const range = { min: 8, max: capabilities.peek()?.limits.side ?? 8192, step: 8, multiple: 8 };
  return h(
    "div.size",
    {},
    h("div.presets", { role: "group", "aria-label": "Proportions" }, proportions.map(preset)),
    h(
      "div.pair",
      {},
      numberField({ label: "Width", value: form.width, usual: () => usual().width, range }),
      h(
        "button.quiet.round",
        { type: "button", title: "Swap width and height", "aria-label": "Swap width and height", onclick: () => set(now().reverse()) },
        icon("swap"),
      ),
      numberField({ label: "Height", value: form.height, usual: () => usual().height, range }),
    ),
  );
}

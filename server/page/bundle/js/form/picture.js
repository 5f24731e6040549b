// How a picture to begin with is used: image to image, inpainting, upscaling.

import { h, render } from "../core/dom.js";
import { form, source } from "../state/form.js";
import { upscalers, variant } from "../state/models.js";
import { inpaintStrength } from "../state/order.js";
import { numberField, selectField, toggleField } from "./controls.js";
import { percent } from "./sampling.js";

/** Whether pictures are drawn; a network that only enlarges takes no words and no steps. */
export const drawing = () => form.mode.value !== "upscale" || !form.upscaler.value;

/** How much of the picture stays. */
export function ofPicture() {
  const usual = () => (form.mode.value === "inpaint" ? inpaintStrength : 0.75);
  return [
    numberField({
      label: "Strength",
      help: "How much of the picture is replaced",
      value: form.strength,
      usual,
      range: percent,
      slide: [0, 1],
    }),
    variant.value === "edit" &&
      numberField({
        label: "Picture guidance",
        help: "How closely the model keeps to the picture",
        value: form.image_cfg_scale,
        usual: () => 1.5,
        range: { min: 0, max: 1000, step: 0.1 },
        slide: [0, 5],
      }),
  ];
}

/** What the mask does. */
export function ofMask() {
  const fills = [
    ["original", "The picture"],
    ["fill", "Colours around it"],
    ["noise", "Noise"],
    ["nothing", "Nothing"],
  ];
  return [
    selectField({
      label: "Begin with",
      value: form.mask_fill,
      options: () => fills.slice(1).map(([value, label]) => ({ value, label })),
      usual: () => fills[0][1],
      same: () => fills[0][0],
    }),
    numberField({
      label: "Blur",
      help: "Softens the mask's edges",
      value: form.mask_blur,
      usual: () => 0,
      range: { min: 0, max: 256, step: 1 },
      slide: [0, 64],
    }),
    toggleField({
      label: "Only the masked area",
      help: "Draws the part around the mask at the full size, and puts it back",
      value: form.only_masked,
    }),
    render(
      h("div"),
      () =>
        form.only_masked.value &&
        numberField({
          label: "Margin",
          help: "Pixels around the mask that are drawn along",
          value: form.mask_padding,
          usual: () => 32,
          range: { min: 0, max: 4096, whole: true },
          slide: [0, 256],
        }),
    ),
  ];
}

/** How the picture is enlarged. */
export function upscaling() {
  const networks = upscalers.value.map((name) => ({ value: name, label: name }));
  return [
    h(
      "div.field.wide",
      {},
      h("label", { htmlFor: "upscaler" }, "Method"),
      h(
        "select",
        {
          id: "upscaler",
          onchange: (e) => {
            form.upscaler.value = e.target.value;
          },
        },
        [{ value: "", label: "Draw again, larger" }, ...networks].map((o) =>
          h("option", { value: o.value, selected: o.value === form.upscaler.value }, o.label),
        ),
      ),
    ),
    numberField({ label: "Scale", value: form.upscale_by, usual: () => 2, range: { min: 1, max: 16, step: 0.5 }, slide: [1, 8] }),
    render(
      h("div"),
      () =>
        drawing() &&
        numberField({
          label: "Change",
          help: "How much may change",
          value: form.upscale_strength,
          usual: () => 0.3,
          range: percent,
          slide: [0, 1],
        }),
    ),
    render(
      h("p.about"),
      () =>
        source.value &&
        `${source.value.width} × ${source.value.height} becomes ${[source.value.width, source.value.height].map((n) => Math.round(n * (form.upscale_by.value ?? 2))).join(" × ")}`,
    ),
  ];
}

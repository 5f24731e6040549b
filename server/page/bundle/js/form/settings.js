// How pictures are made: the parts of the form below the prompt. A further part is one more
// entry of the list in sections.

import { h, render } from "../core/dom.js";
import { form, source } from "../state/form.js";
import { capabilities, nativeSize } from "../state/models.js";
import { aligned } from "../state/order.js";
import { adapters } from "./adapters.js";
import { choiceField, numberField } from "./controls.js";
import { advanced, further, hires } from "./more.js";
import { following } from "./follow.js";
import { guiding } from "./guides.js";
import { drawing, ofMask, ofPicture, upscaling } from "./picture.js";
import { sampling } from "./sampling.js";
import { seedField } from "./seed.js";
import { sizeFields } from "./size.js";

function size() {
  const usual = () => {
    const s = form.mode.value !== "create" && source.value;
    return s ? { width: aligned(s.width), height: aligned(s.height) } : { width: nativeSize.value, height: nativeSize.value };
  };
  return sizeFields(usual);
}

/** The sections for the mode that is chosen. */
function sections() {
  const mode = form.mode.value;
  const withPicture = mode === "picture" || mode === "inpaint";
  return [
    mode === "upscale" && h("div.card", {}, upscaling()),
    withPicture && h("div.card", {}, ofPicture(), mode === "inpaint" && ofMask()),
    mode !== "upscale" && h("div.card", {}, size()),
    drawing() &&
      h(
        "div.card",
        {},
        sampling(),
        seedField(),
        mode !== "upscale" &&
          numberField({
            label: "Pictures",
            value: form.count,
            usual: () => 1,
            range: { min: 1, max: capabilities.peek()?.limits.pictures ?? 64, whole: true },
            slide: [1, 16],
          }),
      ),
    h(
      "div.column.tight",
      {},
      drawing() && adapters(),
      drawing() && following(),
      drawing() && guiding(),
      (mode === "create" || mode === "picture") && hires(),
      drawing() && further(),
      drawing() && advanced(),
    ),
  ];
}

/** All settings. */
export const settings = () => render(h("div.settings"), sections);

/** What to do: the form's modes. */
export const modeField = () =>
  choiceField({
    label: "What to do",
    value: form.mode,
    options: [
      { value: "create", label: "Create" },
      { value: "picture", label: "Image" },
      { value: "inpaint", label: "Inpaint" },
      { value: "upscale", label: "Upscale" },
    ],
  });

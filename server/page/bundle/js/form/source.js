// The picture to begin with, and its mask.

import { h, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { attempt, beginWithFile } from "../state/actions.js";
import { begin, form, mask, source } from "../state/form.js";
import { editMask } from "../mask/editor.js";

const kinds = "image/png,image/jpeg,image/webp,image/gif";

/** Lets the user choose a picture's file. */
export function chooseFile(then) {
  const input = h("input", { type: "file", accept: kinds, onchange: () => input.files[0] && then(input.files[0]) });
  input.click();
}

const choose = () => chooseFile(attempt((file) => beginWithFile(file)));

/** The place of the picture. */
export function sourceField() {
  return render(h("div.source", { id: "source" }), () => (source.value ? filled(source.value) : empty()));
}

function empty() {
  return h(
    "button.well",
    { type: "button", onclick: choose },
    icon("picture"),
    h("span", {}, "Choose a picture"),
    h("span.about", {}, "or drop one here, or paste one"),
  );
}

function filled(picture) {
  const inpaint = () => form.mode.value === "inpaint";
  return [
    h(
      "div.frame",
      {},
      h("img", { src: picture.url, alt: "The picture to begin with" }),
      render(h("div.veil"), () => inpaint() && mask.value && h("img.mask", { src: mask.value.url, alt: "" })),
    ),
    h(
      "div.beside",
      {},
      h("span.about", {}, `${picture.width} × ${picture.height}`),
      render(
        h("div.column"),
        () =>
          inpaint() &&
          h(
            "button.accent",
            { type: "button", onclick: () => editMask(picture) },
            icon("brush"),
            mask.value ? "Edit the mask" : "Paint a mask",
          ),
      ),
      h(
        "div.row",
        {},
        h(
          "button.quiet.round",
          { type: "button", title: "Another picture", "aria-label": "Another picture", onclick: choose },
          icon("folder"),
        ),
        h(
          "button.quiet.round",
          { type: "button", title: "Remove the picture", "aria-label": "Remove the picture", onclick: () => begin(null) },
          icon("close"),
        ),
      ),
    ),
  ];
}

// What the picture is guided towards, without training: by a classifier of noisy pictures,
// and by guides, each with its pictures.

import { h, newID, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { attempt } from "../state/actions.js";
import { form } from "../state/form.js";
import { classesOf, classifiers, guide, guides, kinds, methods, picturesOf, show, unguide } from "../state/guides.js";
import { numberField, parameterFields, section, selectField } from "./controls.js";
import { choosing, options } from "./sampling.js";
import { chooseFile } from "./source.js";

const called = { colour: "A mean colour", lowres: "A smaller picture", mask: "A part that stays", classifier: "A class" };
const images = { lowres: "The smaller picture", mask: "The picture with a hole, or the mask", of: "The picture, where the first is a mask" };

/** The method that is used: that of measurements, or that which takes classifiers. */
const byClass = () => guides.value.some((one) => one.kind.value === "classifier");
const usualMethod = () => (byClass() ? "mpgd" : "moments");
const method = () => methods.value.find((m) => m.name === (form.guide_method.value ?? usualMethod()));

/** The section. */
export function guiding() {
  const summary = () =>
    [form.classifier.value, ...guides.value.map((one) => (called[one.kind.value] ?? one.kind.value).toLowerCase())].filter(Boolean).join(", ") || "none";
  return section(
    "Guide towards",
    summary,
    guides.peek().length > 0 || form.classifier.peek() !== null,
    render(h("div.column"), () => guides.value.map(card)),
    h("button", { type: "button", onclick: () => guide() }, icon("add"), "Add a guide"),
    render(h("div.column"), () => guides.value.length > 0 && how()),
    render(h("div.column"), () => classifiers.value.length > 0 && byClassifier()),
  );
}

/** How guides guide. */
function how() {
  const taken = () => methods.value.filter((m) => m.classifiers || !byClass());
  return [
    selectField({
      label: "Method",
      spoken: "Method of the guides",
      value: choosing(form.guide_method, form.guide_options, method),
      options: () => options(taken()),
      usual: usualMethod,
    }),
    h("p.about", {}, () => method()?.description ?? ""),
    render(h("div.grid"), () => parameterFields(form.guide_options, method()?.parameters ?? [])),
  ];
}

const listed = (names) => names.map((label, n) => ({ value: String(n), label }));

/** The classifier whose gradient guides each step. */
function byClassifier() {
  return [
    h("h3", {}, "Classifier of noisy pictures"),
    selectField({
      label: "Classifier",
      value: form.classifier,
      options: () => classifiers.value.map((m) => ({ value: m.name, label: m.name })),
      usual: () => "none",
      same: () => "",
    }),
    render(
      h("div.column"),
      () =>
        form.classifier.value !== null && [
          selectField({
            label: "Class",
            spoken: "Class of the classifier",
            value: form.classifier_class,
            options: () => listed(classesOf(form.classifier.value)),
            usual: () => "that which is drawn",
            same: () => "",
          }),
          numberField({
            label: "Scale",
            spoken: "Scale of the classifier",
            help: "How strongly it guides",
            value: form.classifier_scale,
            usual: () => 1,
            range: { min: 0, max: 10000, step: 0.5 },
            slide: [0, 20],
          }),
        ],
    ),
  ];
}

function card(one, at) {
  const spoken = (label) => `${label} of guide ${at + 1}`;
  const kind = selectField({
    label: "Towards",
    spoken: spoken("Kind"),
    help: kinds.peek().find((k) => k.name === one.kind.peek())?.help,
    value: {
      get value() {
        return one.kind.value === "colour" ? null : one.kind.value; // the default
      },
      set value(name) {
        one.kind.value = name ?? "colour";
      },
    },
    options: () => kinds.value.filter((k) => k.name !== "classifier" || classifiers.value.length).map((k) => ({ value: k.name, label: called[k.name] ?? k.name })),
    usual: () => called.colour,
    same: () => "colour",
  });
  return h(
    "fieldset.follow",
    {},
    h("legend.hidden", {}, `Guide ${at + 1}`),
    kind,
    render(h("div.column"), () => {
      const name = one.kind.value;
      return [
        name === "colour" && colour(one, spoken("Colour")),
        name === "classifier" && ofClass(one, spoken),
        picturesOf(name).map((place) => picture(one, place, images[place === "of" ? "of" : name], spoken)),
      ];
    }),
    h("button.quiet", { type: "button", "aria-label": `Remove guide ${at + 1}`, onclick: () => unguide(one) }, icon("close"), "Remove"),
  );
}

function colour(one, spoken) {
  const id = newID("colour");
  const input = h("input.colour", {
    id,
    type: "color",
    "aria-label": spoken,
    value: () => one.colour.value ?? "#808080",
    oninput: (e) => {
      one.colour.value = e.target.value;
    },
  });
  return h("div.field.wide", {}, h("label", { htmlFor: id }, "Colour"), input);
}

function ofClass(one, spoken) {
  return [
    selectField({
      label: "Classifier",
      spoken: spoken("Classifier"),
      value: one.classifier,
      options: () => classifiers.value.map((m) => ({ value: m.name, label: m.name })),
      usual: () => classifiers.value[0]?.name ?? "none",
    }),
    selectField({
      label: "Class",
      spoken: spoken("Class"),
      value: one.class,
      options: () => listed(classesOf(one.classifier.value ?? classifiers.value[0]?.name)),
      usual: () => "choose one",
      same: () => "",
    }),
  ];
}

function picture(one, place, label, spoken) {
  const choose = () => chooseFile(attempt((file) => show(one, place, file)));
  const remove = () => {
    one[place].value = null;
  };
  const name = spoken(place === "of" ? "Second picture" : "Picture");
  const button = (mark, title, onclick) => h("button.quiet.round", { type: "button", title, "aria-label": title, onclick }, icon(mark));
  return render(h("div.source"), () => {
    const p = one[place].value;
    if (!p) return h("button.well", { type: "button", "aria-label": `Choose: ${name}`, onclick: choose }, icon("picture"), h("span", {}, label));
    return [
      h("div.frame", {}, h("img", { src: p.url, alt: name })),
      h(
        "div.beside",
        {},
        h("span.about", {}, `${p.width} × ${p.height}`),
        h("div.row", {}, button("folder", `Another: ${name}`, choose), button("close", `Take away: ${name}`, remove)),
      ),
    ];
  });
}

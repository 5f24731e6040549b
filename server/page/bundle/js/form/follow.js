// Pictures to follow: which network, which picture, what is made of it first, and how much
// it has to say.

import { h, newID, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { attempt } from "../state/actions.js";
import { follow, followed, networks, preview, show, unfollow } from "../state/follow.js";
import { form } from "../state/form.js";
import { capabilities, drawsFrom } from "../state/models.js";
import { numberField, section, selectField } from "./controls.js";
import { percent } from "./sampling.js";
import { chooseFile } from "./source.js";

const modes = [
  { value: "prompt", label: "The prompt matters more" },
  { value: "control", label: "The picture matters more" },
  { value: "guess", label: "Guess (without a prompt)" },
];

/** The section, where there are networks that follow pictures. */
export function following() {
  if (!networks.value.length || drawsFrom.value !== "text") return null;
  const summary = () => followed.value.map((one) => one.name.value ?? "?").join(", ") || "none";
  return section(
    "Follow a picture",
    summary,
    followed.peek().length > 0,
    render(h("div.column"), () => followed.value.map(card)),
    h("button", { type: "button", onclick: () => follow() }, icon("add"), "Follow a picture"),
  );
}

function card(one, at) {
  const spoken = (label) => `${label} of followed picture ${at + 1}`;
  const preprocessors = () =>
    (capabilities.value?.preprocessors ?? []).map((p) => ({ value: p.name, label: `${p.name}: ${p.description}` }));
  return h(
    "fieldset.follow",
    {},
    h("legend.hidden", {}, `Followed picture ${at + 1}`),
    place(one, at),
    selectField({
      label: "Network",
      spoken: spoken("Network"),
      value: one.name,
      options: () => networks.value.map((m) => ({ value: m.name, label: [m.name, m.base].filter(Boolean).join(" · ") })),
      usual: () => "choose one",
      same: () => "",
    }),
    selectField({
      label: "Made of it",
      spoken: spoken("Preprocessor"),
      help: "What is made of the picture before the network sees it",
      value: one.preprocess,
      options: preprocessors,
      usual: () => "nothing: it is edges, a pose or a map already",
      same: () => "",
    }),
    numberField({ label: "Weight", spoken: spoken("Weight"), value: one.weight, usual: () => 1, range: { min: 0, max: 10, step: 0.05 }, slide: [0, 2] }),
    numberField({ label: "From", spoken: spoken("Begin"), help: "The part of the steps after which it begins", value: one.start, usual: () => 0, range: percent, slide: [0, 1] }),
    numberField({ label: "Until", spoken: spoken("End"), help: "The part of the steps after which it ends", value: one.end, usual: () => 1, range: percent, slide: [0, 1] }),
    selectField({ label: "Balance", spoken: spoken("Balance"), value: one.mode, options: () => modes, usual: () => "both matter", same: () => "balanced" }),
  );
}

function place(one, at) {
  const choose = () => chooseFile(attempt((file) => show(one, file)));
  const made = h("img.made", { alt: `What the network sees of followed picture ${at + 1}`, hidden: true });
  const look = attempt(async () => {
    const blob = await preview(one);
    if (made.src) URL.revokeObjectURL(made.src);
    made.src = URL.createObjectURL(blob);
    made.hidden = false;
  });
  const button = (name, label, onclick) => h("button.quiet.round", { type: "button", title: label, "aria-label": label, onclick }, icon(name));
  const id = newID("follow");
  return render(h("div.source", { id }), () => {
    const picture = one.picture.value;
    made.hidden = true;
    return [
      picture
        ? h("div.frame", {}, h("img", { src: picture.url, alt: `Followed picture ${at + 1}` }))
        : h("button.well", { type: "button", onclick: choose }, icon("picture"), h("span", {}, "Choose the picture to follow"), 
            render(h("span.about"), () => form.mode.value !== "create" && "otherwise the picture to begin with")),
      h(
        "div.beside",
        {},
        picture && h("span.about", {}, `${picture.width} × ${picture.height}`),
        made,
        h(
          "div.row",
          {},
          picture && button("folder", "Another picture to follow", choose),
          render(h("span"), () => picture && one.preprocess.value && button("spark", "Show what the network sees", look)),
          button("close", `Do not follow picture ${at + 1}`, () => unfollow(one)),
        ),
      ),
    ];
  });
}

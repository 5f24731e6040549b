// The bar at the top: the model, the server's state, light or dark.

import { h, newID, render } from "./core/dom.js";
import { icon } from "./core/icons.js";
import { save } from "./core/storage.js";
import { reachable } from "./core/api.js";
import { derived, signal } from "./core/signal.js";
import { all, checkpoints, chosen, model, rescan } from "./state/models.js";
import { attempt, show } from "./state/actions.js";
import { active } from "./state/jobs.js";
import { showKeys } from "./keys.js";

const themes = [
  ["system", "As the system"],
  ["light", "Light"],
  ["dark", "Dark"],
];

function themeButton() {
  const stored = document.documentElement.dataset.theme ?? "system";
  const now = signal(stored);
  const next = () => {
    const at = themes.findIndex(([name]) => name === now.peek());
    [now.value] = themes[(at + 1) % themes.length];
    if (now.peek() === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now.peek();
    save("theme", now.peek());
  };
  const label = () => `Colours: ${themes.find(([name]) => name === now.value)[1].toLowerCase()}`;
  return render(h("button.quiet.round", { type: "button", id: "theme", title: label, "aria-label": label, onclick: next }), () =>
    icon({ system: "system", light: "sun", dark: "moon" }[now.value]),
  );
}

const states = { loading: "is being opened", failed: "cannot be opened", disabled: "is switched off after failures" };

function modelField() {
  const id = newID("model");
  const list = derived(() => checkpoints.value.map((m) => m.name));
  const name = derived(() => model.value?.name ?? "");
  const select = render(
    h("select", {
      id,
      onchange: (e) => {
        chosen.value = e.target.value;
      },
    }),
    () => list.value.map((n) => h("option", { value: n, selected: n === name.value }, n)),
  );
  const state = () => {
    const m = model.value;
    return m && states[m.state] ? (m.why ? `${states[m.state]}: ${m.why}` : states[m.state]) : "";
  };
  const hidden = () => all.value.filter((m) => m.kind === "other").length;
  return h(
    "div.model",
    {},
    h("label.hidden", { htmlFor: id }, "Model"),
    select,
    h(
      "button.quiet.round",
      {
        type: "button",
        title: () => `Look for new models${hidden() ? ` (${hidden()} files cannot be used)` : ""}`,
        "aria-label": "Look for new models",
        onclick: attempt(rescan),
      },
      icon("reset"),
    ),
    h("span.about", {}, state),
  );
}

/** Puts the bar into its place. */
export function mountTop(el) {
  el.append(
    h("h1", {}, h("img", { src: "/icon.svg", alt: "", width: 24, height: 24 }), "sdgo"),
    modelField(),
    h("p.offline", { role: "status" }, () => (reachable.value ? "" : "The server does not answer. Trying again …")),
    h(
      "div.row",
      {},
      h("button.quiet.round", { type: "button", title: "Keys", id: "keys-button", "aria-label": "Keys", onclick: showKeys }, icon("keys")),
      themeButton(),
    ),
  );
}

/** The two views of small screens. */
export function mountTabs(el) {
  const view = signal(document.body.dataset.view);
  new MutationObserver(() => {
    view.value = document.body.dataset.view;
  }).observe(document.body, { attributes: true, attributeFilter: ["data-view"] });
  const tab = (name, drawing, label) =>
    h("button", { type: "button", "aria-pressed": () => view.value === name, onclick: () => show(name) }, icon(drawing), label);
  el.append(
    tab("create", "sliders", "Create"),
    tab("pictures", "picture", () => (active.value.length ? `Pictures · ${active.value.length}` : "Pictures")),
  );
}

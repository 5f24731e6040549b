// One picture at the full size of the window, with what is known of it.

import * as api from "../core/api.js";
import { h, render } from "../core/dom.js";
import { closeButton, openDialog } from "../core/dialog.js";
import { icon } from "../core/icons.js";
import { notice } from "../core/notices.js";
import { effect, signal, untracked } from "../core/signal.js";
import { pictures } from "../state/gallery.js";
import { facts } from "./facts.js";
import { nameOf } from "./progress.js";
import { askAndRemove, pictureActions, tool } from "./tools.js";

/** Opens the lightbox at a picture of the gallery. */
export function openLightbox(first) {
  const id = signal(first.id);
  const actual = signal(false);
  let dialog = null;
  const at = () => pictures.value.findIndex((p) => p.id === id.value);
  const now = () => pictures.value[at()] ?? first;
  const go = (by) => {
    const next = pictures.peek()[untracked(at) + by];
    if (next) id.value = next.id;
    actual.value = false;
  };
  const remove = async () => {
    const here = untracked(at);
    if (!(await askAndRemove(untracked(now)))) return;
    const next = pictures.peek()[Math.min(here, pictures.peek().length - 1)];
    if (next) id.value = next.id;
    else dialog.close();
  };
  const close = () => dialog.close();
  const keys = (e) => {
    const run = {
      ArrowLeft: () => go(-1),
      ArrowRight: () => go(1),
      Delete: remove,
      z: () => {
        actual.value = !actual.peek();
      },
    }[e.key];
    if (!run || e.target.matches("input, textarea") || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    run();
  };
  dialog = openDialog("full.lightbox", { "aria-label": "Picture", keys }, [
    h(
      "div.view",
      { class: () => (actual.value ? "view actual" : "view") },
      render(
        h("div.sheet", {
          onclick: () => {
            actual.value = !actual.peek();
          },
        }),
        () => image(now()),
      ),
      h(
        "button.round.at-left",
        {
          type: "button",
          "aria-label": "The newer picture",
          title: "The newer picture",
          "aria-disabled": () => at() <= 0,
          onclick: () => go(-1),
        },
        icon("arrowLeft"),
      ),
      h(
        "button.round.at-right",
        {
          type: "button",
          "aria-label": "The older picture",
          title: "The older picture",
          "aria-disabled": () => at() >= pictures.value.length - 1,
          onclick: () => go(1),
        },
        icon("arrowRight"),
      ),
    ),
    h(
      "div.about-picture",
      {},
      h(
        "div.row.between",
        {},
        h("span.about", {}, () => `${now().width} × ${now().height} · ${now().format.toUpperCase()} · ${bytes(now().bytes)}`),
        closeButton(),
      ),
      render(h("div"), () => [pictureActions(now(), close)]),
      details(now),
      h(
        "div.row",
        {},
        tool("trash", "Delete", remove, "quiet.danger"),
        tool("copy", "Copy the parameters", () => copy(untracked(now))),
      ),
    ),
  ]);
  dialog.querySelector(".about-picture button").focus();
}

const image = (p) => h("img", { src: p.url, alt: nameOf(p), "--w": p.width, "--h": p.height });

function bytes(n) {
  return n < 1e6 ? `${Math.max(1, Math.round(n / 1000))} kB` : `${(n / 1e6).toFixed(1)} MB`;
}

/** Copies the parameters; browsers let pages of this machine and of https alone do so. */
async function copy(p) {
  try {
    await navigator.clipboard.writeText(p.parameters);
    notice("Copied.");
  } catch {
    notice("The browser does not let this page copy.", { error: true });
  }
}

/** What the picture says, read by the server. */
function details(now) {
  const read = signal(null);
  effect(() => {
    const p = now();
    read.value = null;
    if (!p.parameters) return;
    api.parametersOf(p.id).then(
      (v) => {
        if (untracked(now).id === p.id) read.value = v;
      },
      () => {},
    );
  });
  return render(h("div.details"), () => (read.value ? facts(read.value) : h("p.prompt-text", {}, nameOf(now()))));
}

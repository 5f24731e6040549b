// Keys that work everywhere, and the list of all.

import { h } from "./core/dom.js";
import { closeButton, openDialog } from "./core/dialog.js";
import { attempt } from "./state/actions.js";
import { active, cancel } from "./state/jobs.js";

const groups = {
  Everywhere: [
    ["Ctrl + Enter", "generate"],
    ["Esc", "cancel the job in front"],
    ["?", "this list"],
  ],
  "In a prompt": [
    ["Ctrl + ↑ ↓", "more or less weight on the word or the selection"],
    ["<", "names of LoRAs"],
    ["↑ ↓ Enter", "choose a name of the list"],
  ],
  "In the gallery": [
    ["← → ↑ ↓", "from picture to picture"],
    ["Enter", "enlarge"],
    ["Del", "delete"],
    ["Z", "enlarged: the picture's own size"],
  ],
  "Painting a mask": [
    ["B, E, H", "brush, eraser, move"],
    ["[ ]", "size of the brush"],
    ["Ctrl + Z, Y", "undo, redo"],
    ["+ − 0", "zoom, fit"],
    ["Arrows, Space", "move the brush, paint"],
    ["I, X", "invert, clear"],
  ],
};

/** Shows all keys. */
export function showKeys() {
  openDialog("sheet.keys", { "aria-label": "Keys" }, [
    h("div.row.between", {}, h("h2", {}, "Keys"), closeButton()),
    h(
      "div.columns",
      {},
      Object.entries(groups).map(([name, rows]) =>
        h(
          "section",
          {},
          h("h3", {}, name),
          h(
            "dl",
            {},
            rows.map(([key, what]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, what))),
          ),
        ),
      ),
    ),
  ]);
}

const stop = attempt(cancel);

/** Listens for keys from now on. */
export function listenForKeys() {
  addEventListener("keydown", (e) => {
    if (document.querySelector("dialog[open]")) return;
    const writes = e.target.matches("input, textarea, select");
    if ((e.ctrlKey || e.metaKey) && e.key === "Enter") {
      e.preventDefault();
      document.getElementById("work").requestSubmit();
    } else if (e.key === "Escape" && !e.defaultPrevented && active.peek().length) {
      stop(active.peek()[0]);
    } else if (e.key === "?" && !writes) {
      showKeys();
    }
  });
}

// The window in which a mask is painted over a picture.

import { h, newID } from "../core/dom.js";
import { openDialog } from "../core/dialog.js";
import { icon } from "../core/icons.js";
import { failed } from "../core/notices.js";
import { effect, signal } from "../core/signal.js";
import { mask, setMask } from "../state/form.js";
import { Painting, largest, smallest } from "./painting.js";
import { Surface } from "./surface.js";
import { View } from "./view.js";

/** Opens the editor for { url, width, height }; what is painted becomes the form's mask. */
export function editMask(picture) {
  const changes = signal(0);
  const view = new View(picture);
  const surface = new Surface(picture.width, picture.height, () => {
    changes.value++;
  });
  const sheet = h(
    "div.sheet",
    { "--w": `${picture.width}px`, "--h": `${picture.height}px` },
    h("img", { src: picture.url, alt: "", draggable: false }),
    surface.canvas,
  );
  const ring = h("div.ring");
  const board = h(
    "div.board",
    { tabIndex: 0, role: "application", "aria-label": "The mask. Arrow keys move the brush, Space paints, E is the eraser." },
    sheet,
    ring,
  );
  const moved = signal(0);
  const painting = new Painting(board, surface, view, () => {
    moved.value++;
  });
  const zoom = (by) => {
    view.zoom(by);
    moved.value++;
  };
  const fit = () => {
    view.fit();
    moved.value++;
  };
  const finish = async () => {
    setMask(surface.empty ? null : await surface.toBlob());
    dialog.close();
  };
  const act = { surface, painting, zoom, fit, finish, discard: () => dialog.close() };
  const dialog = openDialog(
    "full.masking",
    { "aria-label": "Mask", keys: (e) => keys(e, act, board) },
    [toolbar(act, changes), board],
    () => watch.disconnect(),
  );
  dialog.addEventListener("cancel", (e) => {
    // Escape keeps what was painted
    e.preventDefault();
    finish();
  });
  effect(() => {
    moved.value;
    sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
    const at = view.place(painting.cursor.value);
    const size = painting.size.value * view.scale;
    ring.hidden = painting.tool.value === "hand";
    ring.style.transform = `translate(${at.x - size / 2}px, ${at.y - size / 2}px)`;
    ring.style.width = ring.style.height = `${size}px`;
    board.dataset.tool = painting.tool.value;
  });
  const watch = new ResizeObserver(() => {
    view.board = { width: board.clientWidth, height: board.clientHeight };
    fit();
  });
  watch.observe(board);
  if (mask.peek())
    surface
      .load(mask.peek().blob)
      .then(() => {
        surface.done = [];
        changes.value++;
      })
      .catch(failed);
  board.focus();
}

function toolbar({ surface, painting, zoom, fit, finish, discard }, changes) {
  const button = (drawing, label, run, more = {}) =>
    h("button.quiet.round", { type: "button", title: label, "aria-label": label, onclick: run, ...more }, icon(drawing));
  const tool = (name, drawing, label) =>
    button(
      drawing,
      label,
      () => {
        painting.tool.value = name;
      },
      { "aria-pressed": () => painting.tool.value === name },
    );
  const id = newID("size");
  const size = Math.sqrt; // small brushes need finer steps
  return h(
    "div.toolbar",
    { role: "toolbar", "aria-label": "Tools" },
    h(
      "div.row",
      {},
      tool("brush", "brush", "Brush (B)"),
      tool("eraser", "eraser", "Eraser (E)"),
      tool("hand", "hand", "Move the picture (H)"),
    ),
    h(
      "div.row.brush-size",
      {},
      h("label", { htmlFor: id }, "Size"),
      h("input.slider", {
        id,
        type: "range",
        min: size(smallest),
        max: size(largest),
        step: "any",
        value: () => String(size(painting.size.value)),
        "--part": () => (size(painting.size.value) - 1) / (size(largest) - 1),
        "aria-valuetext": () => `${painting.size.value} pixels`,
        oninput: (e) => {
          painting.size.value = Math.round(e.target.value ** 2);
        },
      }),
      h("output", {}, () => `${painting.size.value}`),
    ),
    h(
      "div.row",
      {},
      button("undo", "Undo (Ctrl+Z)", () => surface.undo(), {
        disabled: () => {
          changes.value;
          return !surface.done.length;
        },
      }),
      button("redo", "Redo (Ctrl+Y)", () => surface.redo(), {
        disabled: () => {
          changes.value;
          return !surface.undone.length;
        },
      }),
      button("invert", "Invert (I)", () => surface.invert()),
      button("trash", "Clear (X)", () => surface.clear()),
    ),
    h(
      "div.row",
      {},
      button("minus", "Smaller (−)", () => zoom(1 / 1.3)),
      button("fit", "Fit (0)", fit),
      button("add", "Larger (+)", () => zoom(1.3)),
    ),
    h(
      "div.row",
      {},
      button("folder", "Load a mask", () => loadFile(surface)),
      button("download", "Save the mask", () => saveFile(surface)),
    ),
    h(
      "div.row.end",
      {},
      h("button.quiet", { type: "button", onclick: discard }, "Discard"),
      h("button.primary", { type: "button", onclick: finish }, "Done"),
    ),
  );
}

function loadFile(surface) {
  const input = h("input", {
    type: "file",
    accept: "image/*",
    onchange: () => input.files[0] && surface.load(input.files[0]).catch(failed),
  });
  input.click();
}

async function saveFile(surface) {
  const url = URL.createObjectURL(await surface.toBlob());
  h("a", { href: url, download: "mask.png" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function keys(e, { surface, painting, zoom, fit }, board) {
  const control = e.ctrlKey || e.metaKey;
  const key = e.key.toLowerCase();
  const pick = (name) => () => {
    painting.tool.value = name;
  };
  const free = e.target === board || e.target === document.body; // no slider, no button
  let run = null;
  if (control) {
    run = { z: () => (e.shiftKey ? surface.redo() : surface.undo()), y: () => surface.redo() }[key];
  } else if (arrows[e.key]) {
    run = free && (() => painting.step(...arrows[e.key], e.shiftKey));
  } else if (key === " ") {
    run = free && (() => painting.dab());
  } else {
    run = {
      b: pick("brush"),
      e: pick("eraser"),
      h: pick("hand"),
      "[": () => painting.resize(1 / 1.15),
      "]": () => painting.resize(1.15),
      "+": () => zoom(1.3),
      "=": () => zoom(1.3),
      "-": () => zoom(1 / 1.3),
      0: fit,
      i: () => surface.invert(),
      x: () => surface.clear(),
    }[key];
  }
  if (!run) return;
  e.preventDefault();
  run();
}

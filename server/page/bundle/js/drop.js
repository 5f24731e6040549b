// Pictures that are dropped on the page or pasted into it.

import { h } from "./core/dom.js";
import { notice } from "./core/notices.js";
import { attempt, beginWithFile } from "./state/actions.js";
import { inspect } from "./pictures/inspect.js";

const isPicture = (file) => file.type.startsWith("image/");

function take(files, target) {
  const file = [...files].find(isPicture);
  if (!file) {
    notice("That is no picture: PNG, JPEG, WebP and GIF files can be used.", { error: true });
  } else if (target?.closest?.("#source")) {
    attempt(beginWithFile)(file);
  } else {
    inspect(file);
  }
}

/** Listens for both from now on. */
export function listenForPictures() {
  const veil = h("div.drop", { hidden: true, "aria-hidden": "true" }, h("p", {}, "Drop the picture"));
  document.body.append(veil);
  let depth = 0;
  const has = (e) => e.dataTransfer?.types.includes("Files");
  const end = () => {
    depth = 0;
    veil.hidden = true;
  };
  addEventListener("dragenter", (e) => {
    if (has(e)) {
      depth++;
      veil.hidden = false;
    }
  });
  addEventListener("dragleave", (e) => {
    if (has(e) && --depth <= 0) end();
  });
  addEventListener("dragover", (e) => {
    if (has(e)) e.preventDefault();
  });
  addEventListener("drop", (e) => {
    if (!has(e)) return;
    e.preventDefault();
    end();
    if (!document.querySelector("dialog[open]")) take(e.dataTransfer.files, e.target);
  });
  addEventListener("paste", (e) => {
    const files = [...(e.clipboardData?.files ?? [])];
    if (!files.some(isPicture) || document.querySelector("dialog[open]")) return;
    e.preventDefault();
    take(files, null);
  });
}

// Dialogs, as the browser has them: they keep the focus, Escape closes them.

import { h, topDialog } from "./dom.js";
import { icon } from "./icons.js";
import { placeNotices } from "./notices.js";

/**
 * Opens a dialog that is gone when it is closed. done is called with its returnValue,
 * keys with the keys that are pressed while it is in front, wherever the focus is: it is
 * lost when what had it is drawn anew.
 */
export function openDialog(spec, { keys, ...props }, children, done) {
  const dialog = h("dialog." + spec, props, children);
  const listen = (e) => {
    if (topDialog() === dialog) keys?.(e);
  };
  document.addEventListener("keydown", listen);
  dialog.addEventListener("close", () => {
    document.removeEventListener("keydown", listen);
    placeNotices();
    dialog.remove();
    done?.(dialog.returnValue);
  });
  dialog.addEventListener("click", (e) => {
    // The backdrop is part of the dialog's element.
    if (e.target === dialog && !spec.includes("full")) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  placeNotices();
  return dialog;
}

/** A button that closes the dialog it is in. */
export function closeButton(label = "Close") {
  return h(
    "button.quiet.round",
    { type: "button", "aria-label": label, title: label, onclick: (e) => e.target.closest("dialog").close() },
    icon("close"),
  );
}

/** Asks; resolves to true if the answer is yes. */
export function confirm(question, yes) {
  return new Promise((resolve) => {
    const dialog = openDialog(
      "small",
      { "aria-label": question },
      [
        h("p", {}, question),
        h(
          "div.row.end",
          {},
          h("button", { type: "button", onclick: () => dialog.close() }, "Keep"),
          h("button.danger", { type: "button", autofocus: true, onclick: () => dialog.close("yes") }, yes),
        ),
      ],
      (answer) => resolve(answer === "yes"),
    );
  });
}

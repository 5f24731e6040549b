// Short messages at the page's edge, and what only screen readers are told.

import { h, topDialog } from "./dom.js";
import { icon } from "./icons.js";

const polite = h("p.hidden", { role: "status" });
const urgent = h("p.hidden", { role: "alert" });

/** Puts the messages' places into the page. */
export function mountNotices(el) {
  el.append(polite, urgent);
}

/**
 * Puts the messages where they are seen and heard: what is outside of an open dialog is
 * neither.
 */
export function placeNotices() {
  const all = document.getElementById("notices");
  const host = topDialog() ?? document.body;
  if (all.parentElement !== host) host.append(all);
}

/** Says something to screen readers alone. */
export function say(text) {
  polite.textContent = text;
}

const shownFor = 6000;

/** Shows a message; an error stays until it is closed. action is { label, run }. */
export function notice(text, { error = false, action } = {}) {
  const close = () => note.remove();
  const note = h(
    error ? "div.notice.error" : "div.notice",
    {},
    h("p", {}, text),
    action &&
      h(
        "button.quiet",
        {
          type: "button",
          onclick: () => {
            close();
            action.run();
          },
        },
        action.label,
      ),
    h("button.quiet.round", { type: "button", "aria-label": "Close the message", onclick: close }, icon("close")),
  );
  const all = document.getElementById("notices");
  all.append(note);
  while (all.querySelectorAll(".notice").length > 3) all.querySelector(".notice").remove();
  (error ? urgent : polite).textContent = text;
  if (!error) setTimeout(close, shownFor);
  return close;
}

/** Shows an error's words. */
export const failed = (error) => notice(sentence(error.message), { error: true });

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

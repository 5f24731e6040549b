// A field for a prompt: it grows with its text, counts tokens and completes names.

import * as api from "../core/api.js";
import { debounce, h, newID } from "../core/dom.js";
import { say } from "../core/notices.js";
import { effect, signal } from "../core/signal.js";
import { all, model, named } from "../state/models.js";
import { emphasised, insertion, matches, wordAt } from "./completion.js";

/** A prompt's field. spec is the class that styles it. */
export function promptField({ label, value, spec, placeholder = "" }) {
  const id = newID("prompt");
  const area = h("textarea", {
    id,
    placeholder,
    rows: 2,
    value: () => value.value,
    spellcheck: true,
    autocapitalize: "off",
    "aria-autocomplete": "list",
    "aria-describedby": id + "-tokens",
    oninput: () => {
      value.value = area.value;
    },
    onkeydown: (e) => {
      emphasise(e, area, value);
    },
  });
  complete(area, value);
  return h("div.prompt." + spec, {}, h("div.row.between", {}, h("label", { htmlFor: id }, label), tokenCount(id + "-tokens", value)), area);
}

/** How many tokens a prompt has, of those that the model reads at once. */
function tokenCount(id, value) {
  const text = signal("");
  const over = signal(false);
  const ask = debounce(250, async (prompt, name) => {
    const reply = await api.tokens(prompt, name).catch(() => null);
    if (prompt !== value.peek()) return; // a later answer is under way
    text.value = reply ? `${reply.tokens} / ${reply.chunks * reply.chunk}` : "";
    over.value = reply ? reply.chunks > 1 : false;
  });
  effect(() => {
    all.value; // other models may have other tokenizers
    ask(value.value, model.value?.name);
  });
  return h(
    "span.tokens",
    {
      id,
      title: () => (over.value ? "Tokens. The prompt is read in several parts." : "Tokens"),
      class: () => (over.value ? "tokens over" : "tokens"),
    },
    h("span.hidden", {}, () => (text.value ? "Tokens: " : "")),
    text_(text),
  );
}

const text_ = (s) => () => s.value;

/** Ctrl and up or down change the weight of what is selected. */
function emphasise(e, area, value) {
  if (!(e.ctrlKey || e.metaKey) || !["ArrowUp", "ArrowDown"].includes(e.key)) return;
  const out = emphasised(area.value, area.selectionStart, area.selectionEnd, e.key === "ArrowUp" ? 0.1 : -0.1);
  if (!out) return;
  e.preventDefault();
  value.value = out.text;
  area.setSelectionRange(out.start, out.end);
}

/** Lists the names that fit below the field, as long as they are asked for. */
function complete(area, value) {
  const listID = newID("names");
  const list = h("ul.names", { id: listID, role: "listbox", "aria-label": "Names", hidden: true });
  let word = null;
  let at = 0;
  area.setAttribute("aria-controls", listID);
  const close = () => {
    list.hidden = true;
    area.removeAttribute("aria-activedescendant");
  };
  const mark = (n) => {
    at = (n + list.children.length) % list.children.length;
    [...list.children].forEach((el, i) => el.setAttribute("aria-selected", i === at));
    area.setAttribute("aria-activedescendant", list.children[at].id);
    list.children[at].scrollIntoView({ block: "nearest" });
  };
  const take = (name) => {
    const put = insertion(word.kind, name);
    value.value = area.value.slice(0, word.begin) + put + area.value.slice(area.selectionStart);
    area.setSelectionRange(word.begin + put.length, word.begin + put.length);
    close();
    area.focus();
  };
  const look = () => {
    word = area.selectionStart === area.selectionEnd ? wordAt(area.value, area.selectionStart) : null;
    const found = word ? matches(named(word.kind), word.part) : [];
    if (!found.length || (found.length === 1 && found[0] === word.part)) return close();
    list.replaceChildren(
      ...found.map((name) =>
        h(
          "li",
          {
            id: newID("name"),
            role: "option",
            onpointerdown: (e) => {
              e.preventDefault();
              take(name);
            },
          },
          name,
        ),
      ),
    );
    if (list.hidden) say(`${found.length} ${found.length > 1 ? "names fit" : "name fits"}; arrow keys choose, Enter inserts`);
    list.hidden = false;
    return mark(0);
  };
  area.addEventListener("input", look);
  area.addEventListener("blur", close);
  area.addEventListener("keydown", (e) => {
    if (list.hidden) return;
    if (e.key === "ArrowDown" && !e.ctrlKey) mark(at + 1);
    else if (e.key === "ArrowUp" && !e.ctrlKey) mark(at - 1);
    else if ((e.key === "Enter" && !e.ctrlKey && !e.metaKey) || e.key === "Tab") take(list.children[at].textContent);
    else if (e.key === "Escape") close();
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
  effect(() => {
    value.value;
    queueMicrotask(() => {
      if (!list.isConnected) area.after(list);
    });
  });
}

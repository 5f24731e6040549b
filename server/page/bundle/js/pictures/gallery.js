// All pictures in rows of one height, by day.

import { h, render } from "../core/dom.js";
import { failed } from "../core/notices.js";
import { loadMore, more, pictures } from "../state/gallery.js";
import { openLightbox } from "./lightbox.js";
import { nameOf } from "./progress.js";
import { askAndRemove } from "./tools.js";

const days = new Intl.DateTimeFormat("en", { weekday: "long", day: "numeric", month: "long" });

/** The day of a picture in words. */
function dayOf(created, now = new Date()) {
  const when = new Date(created);
  const midnight = (d) => new Date(d.getFullYear(), d.getMonth(), d.getDate()).getTime();
  const ago = Math.round((midnight(now) - midnight(when)) / 86_400_000);
  if (ago <= 0) return "Today";
  return ago === 1 ? "Yesterday" : days.format(when);
}

const tiles = new Map();

/** A picture's tile, which stays the same element, so that nothing flickers. */
function tile(p) {
  if (!tiles.has(p.id)) tiles.set(p.id, makeTile(p));
  return tiles.get(p.id);
}

function makeTile(p) {
  const button = h(
    "button.tile",
    {
      type: "button",
      tabIndex: -1,
      "data-id": p.id,
      "aria-label": nameOf(p),
      title: nameOf(p),
      "--ratio": p.width / p.height,
      onclick: () => openLightbox(p),
      onkeydown: (e) => move(e, p),
    },
    h("img", { src: p.thumbnail_url, alt: "", loading: "lazy", decoding: "async" }),
  );
  return h("li", { "--ratio": p.width / p.height }, button);
}

/** Tab comes to one picture, the last one that had the focus; arrows go on from there. */
function oneStop(box) {
  const all = [...box.querySelectorAll(".tile")];
  const stop = all.find((t) => t === document.activeElement) ?? all.find((t) => t.tabIndex === 0) ?? all[0];
  for (const t of all) t.tabIndex = t === stop ? 0 : -1;
}

/** Arrows go from picture to picture, Delete deletes. */
function move(e, p) {
  const all = [...document.querySelectorAll(".tile")];
  const at = all.indexOf(e.currentTarget);
  const row = () => {
    const top = e.currentTarget.getBoundingClientRect();
    const down = e.key === "ArrowDown";
    const far = all.filter((t) => (down ? t.getBoundingClientRect().top > top.top + 4 : t.getBoundingClientRect().top < top.top - 4));
    const edge = down
      ? Math.min(...far.map((t) => t.getBoundingClientRect().top))
      : Math.max(...far.map((t) => t.getBoundingClientRect().top));
    const near = far.filter((t) => Math.abs(t.getBoundingClientRect().top - edge) < 4);
    return near.sort(
      (a, b) => Math.abs(a.getBoundingClientRect().left - top.left) - Math.abs(b.getBoundingClientRect().left - top.left),
    )[0];
  };
  const to = {
    ArrowRight: () => all[at + 1],
    ArrowLeft: () => all[at - 1],
    ArrowDown: row,
    ArrowUp: row,
    Home: () => all[0],
    End: () => all.at(-1),
  }[e.key]?.();
  if (to) {
    e.preventDefault();
    to.focus();
  } else if (e.key === "Delete") {
    askAndRemove(p).then((gone) => {
      if (gone) (document.querySelectorAll(".tile")[at] ?? document.querySelector(".tile"))?.focus();
    });
  }
}

/** The pictures of a day. */
function day([name, list]) {
  return h(
    "section.day",
    { "aria-label": name },
    h("h2.small", {}, name, h("span.about", {}, ` ${list.length}`)),
    h("ul.rows", {}, list.map(tile)),
  );
}

/** The gallery; the next pictures are asked for as its end comes near. */
export function gallery() {
  const end = h("div.end");
  new IntersectionObserver(
    (seen) => {
      if (seen.some((s) => s.isIntersecting)) loadMore().catch(failed);
    },
    { rootMargin: "600px" },
  ).observe(end);
  const box = h("div.gallery", { onfocusin: () => oneStop(box) });
  render(box, () => {
    const focus = box.contains(document.activeElement) ? document.activeElement : null;
    queueMicrotask(() => {
      if (focus?.isConnected) focus.focus({ preventScroll: true });
      oneStop(box);
    });
    const by = new Map();
    for (const p of pictures.value) {
      const name = dayOf(p.created);
      by.set(name, [...(by.get(name) ?? []), p]);
    }
    return [...by].map(day);
  });
  return h(
    "div",
    {},
    box,
    end,
    h("button.quiet", { type: "button", hidden: () => !more.value, onclick: () => loadMore().catch(failed) }, "Older pictures"),
  );
}

// The job in front: its preview while it runs, its pictures when it has ended.

import { h, render } from "../core/dom.js";
import { icon } from "../core/icons.js";
import { say } from "../core/notices.js";
import { computed, derived, effect } from "../core/signal.js";
import { attempt, generate } from "../state/actions.js";
import { form } from "../state/form.js";
import { pictures } from "../state/gallery.js";
import * as jobs from "../state/jobs.js";
import { model } from "../state/models.js";
import { openLightbox } from "./lightbox.js";
import { nameOf, outcome, progressLine } from "./progress.js";
import { pictureActions } from "./tools.js";

const job = jobs.front;
const live = computed(() => Boolean(job.value) && !jobs.ended(job.value));

// Small pictures are shown larger, but not to the point of being a blur.
const enlargedAtMost = 4;

/** The pictures that the stage shows: those of the job, else the newest one. */
const shown = derived(() => {
  const own = (job.value?.pictures ?? []).filter((p) => !p.draft);
  const there = new Set(pictures.value.map((p) => p.id));
  const list = own.filter((p) => there.has(p.id));
  if (list.length || live.value) return list;
  return pictures.value.slice(0, 1);
});

/** How many pictures there will be. */
const total = computed(() => {
  const p = job.value?.progress;
  return p ? Math.max(1, p.pictures - (p.skipped ?? 0)) : 1;
});

const preview = computed(() => (live.value ? (job.value.preview_url ?? "") : ""));

function picture(p, alone) {
  return h(
    "figure",
    { "--w": p.width, "--h": p.height, "--most": enlargedAtMost },
    h(
      "button.open",
      { type: "button", "aria-label": `Enlarge: ${nameOf(p)}`, onclick: () => openLightbox(p) },
      h("img", { src: p.url, alt: nameOf(p), width: p.width, height: p.height }),
    ),
    alone && h("figcaption", {}, pictureActions(p)),
  );
}

/** An image that changes only when the next one has been loaded. */
function previewPicture() {
  const img = h("img.preview", { alt: "Preview of the picture that is being drawn", hidden: true });
  effect(() => {
    if (!preview.value) return;
    const next = new Image();
    const url = preview.value;
    next.onload = () => {
      img.src = url;
      img.hidden = false;
    };
    next.src = url;
  });
  const request = () => job.value?.pictures[0]?.request ?? {};
  return h(
    "figure",
    {
      "--w": () => request().width ?? form.width.value ?? model.value?.native_size ?? 512,
      "--h": () => request().height ?? form.height.value ?? model.value?.native_size ?? 512,
      "--most": enlargedAtMost,
    },
    h("div.paper", {}, img),
  );
}

/** Figures beside each other: as few rows as look well. */
function mosaic(figures, n = figures.length) {
  const columns = n <= 3 ? n : n === 4 ? 2 : Math.min(5, Math.ceil(n / 2));
  return h("div.mosaic", { "--columns": columns, "--high": n === 1 ? 1 : n <= 3 ? 0.72 : 0.49 }, figures);
}

function frame() {
  const list = shown.value;
  if (live.value) return mosaic([...list.map((p) => picture(p, false)), previewPicture()], total.value);
  if (list.length) return mosaic(list.map((p) => picture(p, list.length === 1)));
  return welcome();
}

const ideas = {
  small: [
    "a red apple on a yellow background",
    "a rocket on a cyan background",
    "a panda on a green background",
    "a strawberry on a pink background",
  ],
  large: ["a lighthouse at dusk, oil painting", "a red fox in fresh snow, morning light", "an astronaut's garden, isometric"],
};

function welcome() {
  const list = () => ((model.value?.native_size ?? 512) <= 128 ? ideas.small : ideas.large);
  return h(
    "div.welcome",
    {},
    h("h2", {}, "What shall it be?"),
    h("p.about", {}, "Write a few words, or begin with one of these."),
    render(h("div.ideas"), () =>
      list().map((text) =>
        h(
          "button.idea",
          {
            type: "button",
            onclick: () => {
              form.prompt.value = text;
              generate();
            },
          },
          text,
        ),
      ),
    ),
  );
}

function bar() {
  if (!live.value) {
    return h(
      "div.outcome",
      { hidden: () => !job.value || !outcome(job.value) },
      h("p", {}, () => (job.value ? outcome(job.value) : "")),
    );
  }
  const several = () => (job.value?.progress.pictures ?? 1) > 1;
  return h(
    "div.progress",
    {},
    h("div.track", {
      role: "progressbar",
      "aria-label": "Progress of the job",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": () => Math.round((job.value?.progress.fraction ?? 0) * 100),
      "--part": () => job.value?.progress.fraction ?? 0,
    }),
    h("p.line", {}, () => (job.value ? progressLine(job.value) : "")),
    h(
      "div.row",
      {},
      h(
        "button",
        {
          type: "button",
          hidden: () => !several(),
          disabled: () => job.value?.status !== "running",
          onclick: attempt(() => jobs.skip(job.peek())),
        },
        icon("skip"),
        "Skip this one",
      ),
      h(
        "button",
        { type: "button", id: "cancel", onclick: attempt(() => jobs.cancel(job.peek())) },
        icon("stop"),
        "Cancel",
        h("kbd", { "aria-hidden": "true" }, "Esc"),
      ),
    ),
  );
}

/** Jobs that wait for the one in front. */
const waiting = derived(() => jobs.active.value.slice(1));

function queue() {
  if (!waiting.value.length) return null;
  return [
    h("h2.small", {}, "Waiting"),
    h(
      "ol.waiting",
      {},
      waiting.value.map((j) =>
        h(
          "li",
          {},
          h("span.line", {}, progressLine(j)),
          h("span.about", {}, new Date(j.created).toLocaleTimeString()),
          h(
            "button.quiet.round",
            { type: "button", "aria-label": "Cancel this job", title: "Cancel this job", onclick: attempt(() => jobs.cancel(j)) },
            icon("close"),
          ),
        ),
      ),
    ),
  ];
}

const warned = derived(() => job.value?.warnings ?? []);

const warnings = () => warned.value.map((text) => h("p.warning", {}, text));

/** Tells screen readers what happens, at each quarter and at the end. */
function announce() {
  let told = -1;
  effect(() => {
    if (!live.value) {
      told = -1;
      return;
    }
    const quarter = Math.floor(job.value.progress.fraction * 4);
    if (quarter > told && job.value.status === "running") {
      told = quarter;
      say(progressLine(job.value));
    }
  });
  jobs.onEnd((j) => say(outcome(j) || (j.pictures.length === 1 ? "The picture is ready." : `${j.pictures.length} pictures are ready.`)));
}

/** The page's title says how far the job is. */
function title() {
  effect(() => {
    const n = jobs.active.value.length;
    document.title = live.value ? `${Math.round(job.value.progress.fraction * 100)} %${n > 1 ? ` of ${n} jobs` : ""} · sdgo` : "sdgo";
  });
}

/** The stage. */
export function stage() {
  announce();
  title();
  return h(
    "div.stage",
    { "aria-busy": () => live.value },
    render(h("div.frame"), frame),
    render(h("div"), bar),
    render(h("div"), warnings),
    render(h("div.queue"), queue),
  );
}

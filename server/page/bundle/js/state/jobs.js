// Jobs: made, watched, ended. The job in front is watched by server-sent events, the
// others are asked for now and then: browsers open only a few connections to a server,
// and all tabs share them.

import * as api from "../core/api.js";
import { computed, signal } from "../core/signal.js";
import { addPictures } from "./gallery.js";

/** Jobs of this session, the oldest first. */
export const jobs = signal([]);

export const ended = (job) => !["queued", "running"].includes(job.status);

/** Those that wait or run; what runs comes first. */
export const active = computed(() => {
  const all = jobs.value.filter((j) => !ended(j));
  return [
    ...all.filter((j) => j.status === "running"),
    ...all.filter((j) => j.status === "queued").sort((a, b) => a.queue_position - b.queue_position),
  ];
});

/** The job that is shown: the one in front, or the last one that ended. */
export const front = computed(() => active.value[0] ?? jobs.value.at(-1));

// More jobs than wait at a time; older ones have ended.
const most = 1000;

const listeners = [];

/** Calls a function with each job that ends. */
export const onEnd = (run) => listeners.push(run);

/** The other tabs of this browser. */
const tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel("sdgo.jobs") : null;

/** Makes a job of an order. */
export async function start(order) {
  const job = await api.create(order);
  keep(job);
  tabs?.postMessage("job");
  return job;
}

export const cancel = async (job) => keep(await api.cancel(job.id));
export const skip = async (job) => keep(await api.skip(job.id));

/** Takes what the server says of a job. */
function keep(job) {
  const list = jobs.peek();
  const at = list.findIndex((j) => j.id === job.id);
  const before = list[at];
  if (before && ended(before)) return;
  if (job.pictures.length > (before?.pictures.length ?? 0)) addPictures(job.pictures.filter((p) => !p.draft));
  jobs.value = at < 0 ? [...list, job].slice(-most) : list.with(at, job);
  if (before && ended(job)) for (const run of listeners) run(job);
  follow();
}

let events = null;
let followed = "";

/** Watches the job in front. */
function follow() {
  const job = active.peek()[0];
  const id = job && !document.hidden ? job.id : "";
  if (id === followed) return;
  events?.close();
  events = null;
  followed = id;
  if (!id) return;
  events = new EventSource(job.events_url);
  events.addEventListener("job", (e) => keep(api.decode(e.data)));
}

/** Asks for all jobs. One that the server has forgotten failed. */
async function ask() {
  const list = await api.jobs();
  for (const job of active.peek()) {
    if (!list.some((j) => j.id === job.id))
      keep({ ...job, status: "failed", error: { code: "lost", message: "the server was started anew and no longer has this job" } });
  }
  for (const job of list.reverse()) {
    if (!ended(job) || jobs.peek().some((j) => j.id === job.id)) keep(job);
  }
}

const often = 1000;
const seldom = 15_000;

/** Follows the jobs from now on, those of before the page was loaded, too. */
export function watch() {
  let last = 0;
  const look = async () => {
    const [first, ...others] = active.peek();
    const unseen = first && (others.length || first.status === "queued" || events?.readyState !== EventSource.OPEN);
    const due = unseen || !api.reachable.peek() ? often : seldom;
    if ((document.hidden && !active.peek().length) || Date.now() - last < due) return;
    last = Date.now();
    await ask().catch(() => {}); // api.reachable says so
  };
  setInterval(look, often);
  document.addEventListener("visibilitychange", () => {
    last = 0;
    follow();
    look();
  });
  tabs?.addEventListener("message", () => {
    last = 0;
    look();
  });
  return look();
}

// Pictures that were made, the newest first. The server keeps them; what is here is what
// has been asked for.

import * as api from "../core/api.js";
import { signal } from "../core/signal.js";

export const pictures = signal([]);

/** Whether there are more than have been asked for. */
export const more = signal(false);

const tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel("sdgo.pictures") : null;
tabs?.addEventListener("message", (e) => drop(e.data));

/** Adds pictures in front. */
export function addPictures(list) {
  const known = new Set(pictures.peek().map((p) => p.id));
  const fresh = list.filter((p) => !known.has(p.id));
  if (fresh.length) pictures.value = [...fresh.reverse(), ...pictures.peek()];
}

/** Asks for the newest ones; older ones that are known stay. */
export async function loadNewest() {
  const reply = await api.pictures();
  const known = new Map(pictures.peek().map((p) => [p.id, p]));
  const newest = reply.pictures.map((p) => ({ ...known.get(p.id), ...p }));
  const since = Date.parse(newest.at(-1)?.created);
  const older = reply.next ? pictures.peek().filter((p) => Date.parse(p.created) < since) : [];
  pictures.value = [...newest, ...older];
  if (!older.length) more.value = Boolean(reply.next);
}

let loading = false;

/** Asks for those that come next. */
export async function loadMore() {
  if (loading || !more.peek()) return;
  loading = true;
  try {
    const reply = await api.pictures(pictures.peek().at(-1)?.id);
    const known = new Set(pictures.peek().map((p) => p.id));
    pictures.value = [...pictures.peek(), ...reply.pictures.filter((p) => !known.has(p.id))];
    more.value = Boolean(reply.next);
  } finally {
    loading = false;
  }
}

function drop(id) {
  pictures.value = pictures.peek().filter((p) => p.id !== id);
}

/** Deletes a picture from the server. */
export async function remove(picture) {
  try {
    await api.remove(picture.id);
  } catch (error) {
    if (error.status !== 404) throw error; // another tab was first
  }
  drop(picture.id);
  tabs?.postMessage(picture.id);
}

// Pictures that the drawn one follows: ControlNets, T2I-Adapters and IP-Adapters, each with
// a picture of its own or the one to begin with.

import * as api from "../core/api.js";
import { computed, effect, signal } from "../core/signal.js";
import { load, loadFile, save, saveFile } from "../core/storage.js";
import { all } from "./models.js";

// What is said of each; null is the default.
const usual = { name: null, preprocess: null, weight: null, start: null, end: null, mode: null };

/** The pictures that are followed: signals of what is said, and of picture: { id, width, height, blob, url } or null. */
export const followed = signal([]);

/** Networks that follow pictures. */
export const networks = computed(() => all.value.filter((m) => m.kind === "control"));

/** Adds one that follows a picture. */
export function follow(said = {}, picture = null) {
  const one = Object.fromEntries(Object.entries(usual).map(([key, value]) => [key, signal(said[key] ?? value)]));
  one.name.value ??= networks.peek()[0]?.name ?? null;
  one.picture = signal(picture);
  followed.value = [...followed.peek(), one];
  return one;
}

/** Takes one away. */
export function unfollow(one) {
  release(one.picture.peek());
  followed.value = followed.peek().filter((o) => o !== one);
}

/** Follows others in place of those that there are. */
export function followOthers(list) {
  for (const one of followed.peek()) release(one.picture.peek());
  followed.value = [];
  for (const said of list) follow(said);
}

/** Takes a picture's file as the one that is followed. */
export async function show(one, blob) {
  const sent = await api.upload(blob);
  release(one.picture.peek());
  one.picture.value = { id: sent.id, width: sent.width, height: sent.height, blob, url: URL.createObjectURL(blob) };
}

/** Sends the pictures again: the server keeps uploads for an hour only. */
export async function showAgain() {
  for (const one of followed.peek()) {
    const p = one.picture.peek();
    if (p?.blob) one.picture.value = { ...p, id: (await api.upload(p.blob)).id };
  }
  return followed.peek().length > 0;
}

/** What its preprocessor makes of a picture, as a file. */
export const preview = async (one) => api.preprocess("id:" + one.picture.peek().id, one.preprocess.peek());

const release = (picture) => picture && URL.revokeObjectURL(picture.url);

const plain = (one) => ({
  ...Object.fromEntries(Object.keys(usual).map((key) => [key, one[key].value])),
  picture: one.picture.value?.id ?? null,
});

/** All of them as plain data, each with the id of its picture or null. */
export const follows = () => followed.value.map(plain);

/** Restores what was there before the page was loaded again, and keeps what changes. */
export async function restoreFollowed() {
  const said = load("followed");
  const files = (await loadFile("followed")) ?? [];
  if (Array.isArray(said) && !followed.peek().length) {
    said.forEach((one, i) => {
      const kept = files[i];
      follow(one, kept?.blob ? { ...kept, url: URL.createObjectURL(kept.blob) } : null);
    });
  }
  effect(() => save("followed", JSON.stringify(follows())));
  effect(() => {
    const list = followed.value.map((one) => one.picture.value).map((p) => p && { id: p.id, width: p.width, height: p.height, blob: p.blob });
    saveFile("followed", list.length ? list : null);
  });
}

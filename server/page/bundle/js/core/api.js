// The server's own interface, /api/v1.

import { signal } from "./signal.js";

/** What the server refused, with its words. */
class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered with status ${status}`);
    this.status = status;
    this.code = error?.code ?? "";
    this.problems = error?.problems ?? [];
  }
}

/** Whether the server answered when it was last asked. */
export const reachable = signal(true);

// Seeds have 64 bits, which numbers of this language cannot hold: they are texts here.
// A quote within a JSON string has a backslash, so that only keys match.
const longNumbers = /("(?:seed|to_seed)":)(-?\d+)/g;
const longTexts = /("(?:seed|to_seed)":)"(-?\d+)"/g;

/** JSON whose seeds become texts. */
export const decode = (text) => JSON.parse(text.replace(longNumbers, '$1"$2"'));

/** JSON whose seeds are numbers. */
export const encode = (value) => JSON.stringify(value).replace(longTexts, "$1$2");

async function send(method, path, body, type) {
  let reply;
  try {
    reply = await fetch(path, { method, body, headers: type ? { "Content-Type": type } : {} });
    reachable.value = true;
  } catch {
    reachable.value = false;
    throw new Error("The server does not answer.");
  }
  return reply;
}

async function call(method, path, body, type) {
  const reply = await send(method, path, body, type);
  const text = await reply.text();
  let value = null;
  try {
    value = text ? decode(text) : null;
  } catch {
    // A proxy's page of errors is none of the server's words.
  }
  if (!reply.ok) throw new Refused(reply.status, value?.error);
  return value;
}

const root = "/api/v1/";
const get = (path) => call("GET", root + path);
const post = (path, body) => call("POST", root + path, encode(body ?? {}), "application/json");

export const capabilities = () => get("capabilities");
export const models = () => get("models").then((r) => r.models);
export const rescan = () => post("models/refresh").then((r) => r.models);
export const jobs = () => get("jobs").then((r) => r.jobs);
export const create = (order) => post("jobs", order);
export const cancel = (id) => post(`jobs/${id}/cancel`);
export const skip = (id) => post(`jobs/${id}/skip`);
export const pictures = (after) => get("pictures?limit=60" + (after ? "&after=" + encodeURIComponent(after) : ""));
export const remove = (id) => call("DELETE", root + "pictures/" + id);
export const parametersOf = (id) => get(`pictures/${id}/parameters`);
export const parametersOfText = (text) => post("parameters", { text });
export const tokens = (text, model) => post("tokens", { text, model });
export const upload = (blob) => call("POST", root + "uploads", blob, blob.type || "application/octet-stream");

/** What a preprocessor makes of a picture, as a file. */
export async function preprocess(image, preprocessor) {
  const reply = await send("POST", root + "preprocess", encode({ image, preprocessor }), "application/json");
  if (!reply.ok) throw new Refused(reply.status, (await reply.json().catch(() => null))?.error);
  return reply.blob();
}

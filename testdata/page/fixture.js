// What all tests of the page have: a server without pictures, a page that is open,
// and rules that hold in every one of them: no error in the page, nothing that its
// security policy forbids, no request to elsewhere.

import { expect, test as base } from "playwright/test";
import { serve } from "./serve.js";

export { expect };

/** Watches a page; the faults that it collects must be none. */
function watched(page, origin) {
  const faults = [];
  page.on("pageerror", (error) => faults.push(`error: ${error.message}`));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) faults.push(message.text());
  });
  page.on("request", (request) => {
    if (!/^(data|blob):/.test(request.url()) && !request.url().startsWith(origin)) faults.push(`request to ${request.url()}`);
  });
  return faults;
}

export const test = base.extend({
  server: [
    async ({}, use) => {
      const server = await serve();
      await use(server);
      await server.end();
    },
    { scope: "worker" },
  ],
  // More servers of a test; they end with it, however it ends.
  start: async ({}, use) => {
    const all = [];
    await use(async (options) => {
      const one = await serve(options);
      all.push(one);
      return one;
    });
    for (const one of all.reverse()) await one.end();
  },
  baseURL: async ({ server }, use) => use(server.address),
  open: async ({ page, server }, use) => {
    const faults = watched(page, server.address);
    await use(async () => {
      await clear(server.address);
      await page.goto("/");
      await ready(page);
    });
    expect(faults).toEqual([]);
  },
});

/** Deletes the pictures of earlier tests. */
async function clear(address) {
  for (;;) {
    const { pictures } = await (await fetch(`${address}/api/v1/pictures`)).json();
    if (!pictures.length) return;
    await Promise.all(pictures.map((p) => fetch(address + p.url, { method: "DELETE" })));
  }
}

/** Waits until the page has what the server has. */
export const ready = (page) => expect(page.locator("body")).toHaveAttribute("data-ready", "true");

/** Sets a number of the form. */
export async function number(page, label, value) {
  const field = page.locator("#work").getByLabel(label, { exact: true });
  await field.fill(String(value));
  await field.blur();
}

/** Draws, and waits for the job's end. Returns what the server was asked for and the job. */
export async function draw(page, { prompt, seed, steps = 4, count } = {}) {
  if (prompt !== undefined) await page.getByLabel("Prompt", { exact: true }).fill(prompt);
  if (seed !== undefined) await number(page, "Seed", seed);
  await number(page, "Steps", steps);
  if (count) await number(page, "Pictures", count);
  return generate(page);
}

/** Presses the button and waits for the job's end. */
export async function generate(page) {
  const { order, job } = await submit(page);
  await ended(page, job.id);
  return { order, job: await (await page.request.get(at(page, job.poll_url))).json() };
}

/** Presses the button; returns what was asked for and the answer. */
export async function submit(page) {
  const [reply] = await Promise.all([
    page.waitForResponse((r) => r.url().endsWith("/api/v1/jobs") && r.request().method() === "POST"),
    page.locator("#generate").click(),
  ]);
  expect(reply.status()).toBe(202);
  return { order: JSON.parse(reply.request().postData()), job: await reply.json() };
}

/** An address of the server whose page it is, which a test may have started itself. */
const at = (page, path) => new URL(path, page.url()).href;

/** Waits until a job has ended and the page knows it. */
export async function ended(page, id) {
  await expect
    .poll(async () => (await (await page.request.get(at(page, `/api/v1/jobs/${id}`))).json()).status, { timeout: 60_000 })
    .not.toMatch(/queued|running/);
  await expect(page.locator(".stage")).toHaveAttribute("aria-busy", "false");
}

/** The pixels of a picture, as the browser decodes them. */
export const pixels = (page, url) =>
  page.evaluate(async (from) => {
    const [, base64] = from.split("base64,"); // which the page's policy keeps from fetch
    const blob = base64 ? new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]) : await (await fetch(from)).blob();
    const bitmap = await createImageBitmap(blob);
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const pen = canvas.getContext("2d");
    pen.drawImage(bitmap, 0, 0);
    return { width: bitmap.width, height: bitmap.height, data: [...pen.getImageData(0, 0, bitmap.width, bitmap.height).data] };
  }, url);

/** Drops a file on an element of the page. */
export async function drop(page, selector, { name, type, data }) {
  const transfer = await page.evaluateHandle(
    ({ name, type, base64 }) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      const out = new DataTransfer();
      out.items.add(new File([bytes], name, { type }));
      return out;
    },
    { name, type, base64: data.toString("base64") },
  );
  for (const event of ["dragenter", "dragover", "drop"]) await page.dispatchEvent(selector, event, { dataTransfer: transfer });
}

/** Adds models to those that the server says it has. */
export const withModels = (page, change) =>
  page.route("**/api/v1/models", async (route) => {
    const reply = await route.fetch();
    const body = await reply.json();
    change(body.models);
    await route.fulfill({ response: reply, json: body });
  });

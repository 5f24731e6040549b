// Draws the pictures of the page that the documentation shows.

import { chromium } from "playwright";
import { serve } from "./serve.js";

const folder = new URL("../../docs/pictures/", import.meta.url).pathname;
const things = [
  "a red apple on a yellow background",
  "a rabbit on a green background",
  "a waffle on a purple background",
  "a robot on a pink background",
  "a lighthouse, a blue background",
  "a trumpet on a cyan background",
  "a carrot on a brown background",
  "a sunflower on a blue background",
  "a guitar on an orange background",
  "a mushroom on a green background",
  "a strawberry on a pink background",
  "a cactus on a yellow background",
  "a crab on a cyan background",
  "a rocket on a cyan background",
];

const server = await serve();
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });

/** Waits for jobs that were made over the interface. */
async function drawn(orders) {
  const ids = [];
  for (const order of orders) {
    const reply = await fetch(`${server.address}/api/v1/jobs`, { method: "POST", body: JSON.stringify(order) });
    ids.push((await reply.json()).id);
  }
  for (const id of ids) {
    for (let status = ""; status !== "done";) {
      await new Promise((resolve) => setTimeout(resolve, 200));
      ({ status } = await (await fetch(`${server.address}/api/v1/jobs/${id}`)).json());
      if (status === "failed") throw new Error(`job ${id} failed`);
    }
  }
}

async function open(options) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  await page.goto(server.address);
  await page.locator("body[data-ready]").waitFor();
  return page;
}

const shot = async (page, name) => {
  await page.waitForTimeout(700); // thumbnails, counts of tokens
  await page.screenshot({ path: `${folder}page-${name}.jpg`, quality: 88 });
};

const sizes = [
  {},
  {},
  {},
  {},
  { width: 160, height: 104 },
  {},
  {},
  { width: 104, height: 160 },
  {},
  {},
  { width: 160, height: 104 },
  {},
  {},
];
await drawn(things.toReversed().map((prompt, i) => ({ request: { prompt, seed: 4, steps: 30, ...sizes[i] } })));

const light = await open({ colorScheme: "light" });
await light.getByLabel("Prompt", { exact: true }).fill("a panda on a green background");
await light.getByLabel("Steps", { exact: true }).fill("30");
await light.locator("#work").getByLabel("Pictures", { exact: true }).fill("4");
await light.keyboard.press("Control+Enter");
await light.locator(".stage[aria-busy=false] figure:nth-child(4)").waitFor({ timeout: 60_000 });
await light.locator("#pictures").focus();
await shot(light, "light");

const dark = await open({ colorScheme: "dark" });
await dark.getByLabel("Prompt", { exact: true }).fill("a lion on an orange background");
await dark.getByLabel("Steps", { exact: true }).fill("400");
await dark.keyboard.press("Control+Enter");
await dark.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.ariaValueNow) > 55, undefined, { timeout: 60_000 });
await dark.screenshot({ path: `${folder}page-dark.jpg`, quality: 88 });
await dark.locator(".stage[aria-busy=false]").waitFor({ timeout: 60_000 });

await dark.getByLabel(things[0]).last().click();
await dark.getByRole("dialog").getByRole("button", { name: "Inpaint" }).click();
const box = await dark.locator(".board").boundingBox();
const at = (x, y) => [box.x + box.width / 2 + x, box.y + box.height / 2 + y];
await dark.mouse.move(...at(20, -190));
await dark.mouse.down();
for (const [x, y] of [
  [60, -170],
  [100, -180],
  [110, -150],
  [60, -150],
])
  await dark.mouse.move(...at(x, y), { steps: 6 });
await dark.mouse.up();
await shot(dark, "mask");

const phone = await open({ viewport: { width: 390, height: 760 }, isMobile: true, hasTouch: true, colorScheme: "light" });
await phone.getByRole("button", { name: "Pictures" }).tap();
await shot(phone, "phone");

await browser.close();
await server.end();

// Pictures that the drawn one follows, with a small model and its networks.

import { copyFile, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { expect, generate, number, ready, test } from "./fixture.js";
import { png } from "./png.js";

const files = { "tiny.safetensors": "nets/sd1.safetensors", "canny.safetensors": "controls/sd1.safetensors", "sketch.safetensors": "controls/t2i-sd1.safetensors" };

const folder = test.extend({
  models: async ({}, use) => {
    const at = await mkdtemp(join(tmpdir(), "sdgo-models-"));
    await mkdir(at, { recursive: true });
    for (const [name, from] of Object.entries(files)) await copyFile(new URL("../" + from, import.meta.url).pathname, join(at, name));
    await use(at);
    await rm(at, { recursive: true, force: true });
  },
});

async function choose(page, button, data) {
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: button }).click();
  await (await chooser).setFiles({ name: "a.png", mimeType: "image/png", buffer: data });
}

folder("a picture is followed, what the network sees is shown, and a new load of the page keeps it", async ({ page, start, models }) => {
  const server = await start({ models });
  await page.goto(server.address);
  await ready(page);
  await page.getByLabel("Model", { exact: true }).selectOption("tiny");
  await page.getByText("Follow a picture", { exact: true }).first().click();
  await page.getByRole("button", { name: "Follow a picture" }).click();
  await page.getByLabel("Prompt", { exact: true }).fill("a fox");
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("Choose the picture to follow first.");

  await choose(page, "Choose the picture to follow", png({ width: 64, height: 64 }));
  await expect(page.getByAltText("Followed picture 1", { exact: true })).toBeVisible();
  await page.getByLabel("Network of followed picture 1", { exact: true }).selectOption("canny");
  await page.getByLabel("Preprocessor of followed picture 1", { exact: true }).selectOption("canny");
  await page.getByRole("button", { name: "Show what the network sees" }).click();
  await expect(page.getByAltText("What the network sees of followed picture 1")).toBeVisible();
  await number(page, "Weight of followed picture 1", 0.8);
  await number(page, "Steps", 2);
  await number(page, "Width", 64);
  await number(page, "Height", 64);
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.filter((v) => ["serious", "critical"].includes(v.impact))).toEqual([]);
  const { order, job } = await generate(page);
  expect(order.request.control).toEqual([{ name: "canny", preprocess: "canny", weight: 0.8 }]);
  expect(order.control_images).toEqual([expect.stringMatching(/^id:[0-9a-f]{32}$/)]);
  expect(job.status).toBe("done");
  expect(job.pictures[0].parameters).toContain('ControlNet 0: "Module: canny, Model: canny, Weight: 0.8');

  await page.reload();
  await ready(page);
  await expect(page.getByAltText("Followed picture 1", { exact: true })).toBeVisible();
  const again = await generate(page);
  expect(again.order.request.control).toEqual(order.request.control);
  await page.getByRole("button", { name: "Do not follow picture 1" }).click();
  const without = await generate(page);
  expect(without.order.control_images).toBeUndefined();
});

// What pictures are guided towards: guides with their pictures, and classifiers of noisy
// pictures, with small models.

import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { drop, expect, generate, number, ready, test } from "./fixture.js";
import { png } from "./png.js";

const files = { "guided.safetensors": "pixel/guided.safetensors", "seen.safetensors": "pixel/classifier.safetensors" };

const folder = test.extend({
  models: async ({}, use) => {
    const at = await mkdtemp(join(tmpdir(), "sdgo-models-"));
    for (const [name, from] of Object.entries(files)) await copyFile(new URL("../" + from, import.meta.url).pathname, join(at, name));
    await use(at);
    await rm(at, { recursive: true, force: true });
  },
});

async function choose(page, button, data) {
  const chooser = page.waitForEvent("filechooser");
  await page.getByRole("button", { name: button, exact: true }).click();
  await (await chooser).setFiles({ name: "a.png", mimeType: "image/png", buffer: data });
}

const select = (page, label, value) => page.getByLabel(label, { exact: true }).selectOption(value);

folder("guides and classifiers, by keyboard and screen reader, kept over a new load and read back from a picture", async ({ page, start, models }) => {
  const server = await start({ models });
  await page.goto(server.address);
  await ready(page);
  await select(page, "Model", "guided");
  await page.locator(".classes label", { hasText: "11" }).click();
  for (const [label, value] of [["Steps", 2], ["Width", 16], ["Height", 16], ["Seed", 5]]) await number(page, label, value);
  const plain = await generate(page);
  expect(plain.order.request.guide).toBeUndefined();
  expect(plain.order.guide_images).toBeUndefined();

  await page.getByText("Guide towards", { exact: true }).focus();
  await page.locator("summary", { hasText: "Guide towards" }).press("Enter");
  await page.getByRole("button", { name: "Add a guide" }).press("Enter");
  await page.getByLabel("Colour of guide 1", { exact: true }).fill("#3060c0");
  await page.getByRole("button", { name: "Add a guide" }).click();
  await select(page, "Kind of guide 2", "lowres");
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("Choose the picture of the guide first.");
  await choose(page, "Choose: Picture of guide 2", png({ width: 4, height: 4 }));
  await expect(page.getByAltText("Picture of guide 2")).toBeVisible();
  await select(page, "Method of the guides", "lgd");
  await number(page, "samples", 2);
  const { violations } = await new AxeBuilder({ page }).analyze();
  expect(violations.filter((v) => ["serious", "critical"].includes(v.impact))).toEqual([]);
  const { order, job } = await generate(page);
  expect(order.request.guide).toEqual([{ kind: "colour", colour: "#3060c0" }, { kind: "lowres" }]);
  expect(order.request.guide_method).toBe("lgd:samples=2");
  expect(order.guide_images).toEqual([null, expect.stringMatching(/^id:[0-9a-f]{32}$/)]);
  expect(job.status).toBe("done");
  expect(job.pictures[0].parameters).toContain('Guide: "colour=#3060c0,lowres=", Guide method: "lgd:samples=2');

  await page.reload();
  await ready(page);
  await expect(page.getByAltText("Picture of guide 2")).toBeVisible();
  const again = await generate(page);
  expect(again.order.request).toEqual(order.request);

  // A class, as a classifier sees the finished picture, and a classifier of each step.
  await select(page, "Kind of guide 2", "classifier");
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error").last()).toContainText("Choose the class to guide towards.");
  await select(page, "Class of guide 2", "2");
  await select(page, "Classifier", "seen");
  await select(page, "Class of the classifier", "3");
  await number(page, "Scale of the classifier", 4);
  const classed = await generate(page);
  expect(classed.order.request).toMatchObject({ classifier: "seen", classifier_class: "3", classifier_scale: 4 });
  expect(classed.order.request.guide[1]).toEqual({ kind: "classifier", classifier: "seen", class: "2" });
  expect(classed.job.status).toBe("done");
  expect(classed.job.pictures[0].parameters).toContain("Classifier: seen, Classifier scale: 4, Classifier class: 3");

  // What the picture says fills the form again.
  for (const n of [2, 1]) await page.getByRole("button", { name: `Remove guide ${n}` }).click();
  await select(page, "Classifier", "");
  const without = await generate(page);
  expect(without.order.request.guide).toBeUndefined();
  expect(without.order.request.classifier).toBeUndefined();
  const file = await (await page.request.get(new URL(classed.job.pictures[0].url, page.url()).href)).body();
  await drop(page, "#pictures", { name: "a.png", type: "image/png", data: file });
  const dialog = page.getByRole("dialog", { name: "The picture that was dropped" });
  await dialog.getByRole("button", { name: "Use its parameters" }).click();
  await expect(page.getByLabel("Class of guide 2", { exact: true })).toHaveValue("2");
  const refilled = await generate(page);
  expect(refilled.order.request).toMatchObject({ classifier: "seen", classifier_class: "3", guide: classed.order.request.guide });
});

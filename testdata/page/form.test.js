// The form: completion of names, tokens, weights, models that take classes.

import { copyFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { png } from "./png.js";
import { draw, expect, ready, generate, number, submit, test, withModels } from "./fixture.js";

const prompt = (page) => page.getByLabel("Prompt", { exact: true });

const adapters = (models) =>
  models.push(
    { name: "watercolour", file: "watercolour.safetensors", kind: "lora", bytes: 1 },
    { name: "wood-cut", file: "wood-cut.safetensors", kind: "lora", bytes: 1 },
    { name: "easynegative", file: "easynegative.safetensors", kind: "embedding", bytes: 1 },
  );

test("names of LoRAs and embeddings are completed", async ({ page, open }) => {
  await withModels(page, adapters);
  await open();
  await prompt(page).pressSequentially("a lake <");
  const list = page.getByRole("listbox", { name: "Names" }).first();
  await expect(list.getByRole("option")).toHaveText(["watercolour", "wood-cut"]);
  await page.keyboard.press("ArrowDown");
  await expect(list.getByRole("option", { selected: true })).toHaveText("wood-cut");
  await expect(prompt(page)).toHaveAttribute("aria-activedescendant", await list.getByRole("option").last().getAttribute("id"));
  await page.keyboard.press("Enter");
  await expect(prompt(page)).toHaveValue("a lake <lora:wood-cut:1>");
  await prompt(page).pressSequentially(" <lora:wat");
  await expect(list.getByRole("option")).toHaveText(["watercolour"]);
  await page.keyboard.press("Escape");
  await expect(list).toBeHidden();

  await page.getByLabel("Negative prompt", { exact: true }).pressSequentially("blurry, easy");
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Negative prompt", { exact: true })).toHaveValue("blurry, easynegative");

  // The section lists what the prompt has; its weights are those of the tags.
  await prompt(page).fill("a lake <lora:wood-cut:1>");
  await page.getByText("LoRAs", { exact: true }).click();
  await page.getByLabel("Weight of wood-cut").fill("0.6");
  await page.getByLabel("Weight of wood-cut").blur();
  await expect(prompt(page)).toHaveValue("a lake <lora:wood-cut:0.6>");
  await page.getByLabel("Add", { exact: true }).selectOption("watercolour");
  await expect(prompt(page)).toHaveValue("a lake <lora:wood-cut:0.6> <lora:watercolour:1>");
  await page.getByRole("button", { name: "Remove wood-cut" }).click();
  await expect(prompt(page)).toHaveValue("a lake <lora:watercolour:1>");
});

test("a LoRA and an embedding of the models folder are completed and drawn with", async ({ page, start }) => {
  const models = await mkdtemp(join(tmpdir(), "sdgo-models-"));
  for (const [from, to] of [
    ["nets/sd1.safetensors", "tiny.safetensors"],
    ["adapters/kohya.safetensors", "watercolour.safetensors"],
    ["adapters/words-a1111.pt", "shiny.pt"],
  ])
    await copyFile(new URL(`../${from}`, import.meta.url), join(models, to));
  const server = await start({ models });
  await page.goto(server.address);
  await ready(page);
  await page.getByLabel("Model", { exact: true }).selectOption("tiny");
  await prompt(page).pressSequentially("a lake <lora:wat");
  await page.keyboard.press("Tab");
  await prompt(page).pressSequentially(" shi");
  await page.keyboard.press("Tab");
  await expect(prompt(page)).toHaveValue("a lake <lora:watercolour:1> shiny");
  await number(page, "Width", 64);
  await number(page, "Height", 64);
  const { order, job } = await draw(page, { steps: 2, seed: 3 });
  expect(order.request.prompt).toBe("a lake <lora:watercolour:1> shiny");
  expect(job.status).toBe("done");
  const { text } = await (await page.request.get(`${server.address}${job.pictures[0].url}/parameters`)).json();
  expect(text).toContain("Lora hashes: \"watercolour: ");
  expect(text).toContain("TI hashes: \"shiny: ");
  await prompt(page).fill("a lake <lora:oil:1>");
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("oil");
  await rm(models, { recursive: true });
});

test("the built-in model of emoji draws a class", async ({ page, open }) => {
  await open();
  await page.getByLabel("Model", { exact: true }).selectOption("sdgo-emoji");
  await expect(prompt(page)).toHaveCount(0);
  await expect(page.getByLabel("Steps", { exact: true })).toHaveAttribute("placeholder", "50");
  await expect(page.getByLabel("Width", { exact: true })).toHaveAttribute("placeholder", "32");
  await page.getByPlaceholder("Find one of 24 classes").fill("fo");
  await page.getByText("fox").click();
  const { order, job } = await draw(page, { steps: 2, seed: 5 });
  expect(order.model).toBe("sdgo-emoji");
  expect(order.request.class).toMatch(/^\d+$/);
  expect(job.status).toBe("done");
  expect([job.pictures[0].width, job.pictures[0].height]).toEqual([32, 32]);
  // Its parameters fill the form again.
  await page.reload();
  await ready(page);
  await expect(page.locator(".prompt.class .tokens")).toHaveText("fox");
});

test("models that take a number, or nothing, say so", async ({ page, open }) => {
  await withModels(page, (models) =>
    models.push(
      { name: "age", file: "age.safetensors", kind: "checkpoint", draws_from: "number", native_size: 64, bytes: 1 },
      { name: "free", file: "free.safetensors", kind: "checkpoint", draws_from: "nothing", native_size: 64, bytes: 1 },
    ),
  );
  await open();
  const ordered = async () => {
    const [request] = await Promise.all([
      page.waitForRequest((r) => r.url().endsWith("/api/v1/jobs") && r.method() === "POST"),
      page.locator("#generate").click(),
    ]);
    return JSON.parse(request.postData()).request;
  };
  await prompt(page).fill("a fox");
  await page.getByLabel("Model", { exact: true }).selectOption("age");
  await expect(prompt(page)).toHaveCount(0);
  await number(page, "What to draw", 0.25);
  expect(await ordered()).toEqual({ class: "0.25", seed: -1 });
  await page.getByLabel("Model", { exact: true }).selectOption("free");
  await expect(page.getByText("This model draws freely")).toBeVisible();
  expect(await ordered()).toEqual({ seed: -1 });
});

test("tokens are counted by the server", async ({ page, open }) => {
  await open();
  await expect(page.locator(".prompt.positive .tokens")).toHaveText("Tokens: 0 / 75");
  await prompt(page).fill("a red apple");
  await expect(page.locator(".prompt.positive .tokens")).toHaveText("Tokens: 4 / 75");
  await prompt(page).fill("a red apple ".repeat(30));
  await expect(page.locator(".prompt.positive .tokens")).toHaveText("Tokens: 120 / 150");
  await expect(page.locator(".prompt.positive .tokens")).toHaveClass(/over/);
});

test("Ctrl and arrows weigh words", async ({ page, open }) => {
  await open();
  await prompt(page).fill("a red apple");
  await prompt(page).evaluate((el) => el.setSelectionRange(4, 4));
  await page.keyboard.press("Control+ArrowUp");
  await expect(prompt(page)).toHaveValue("a (red:1.1) apple");
  await page.keyboard.press("Control+ArrowUp");
  await expect(prompt(page)).toHaveValue("a (red:1.2) apple");
  for (let i = 0; i < 2; i++) await page.keyboard.press("Control+ArrowDown");
  await expect(prompt(page)).toHaveValue("a red apple");
});

test("a model by classes has them in place of a prompt", async ({ page, open }) => {
  const names = Array.from({ length: 1000 }, (_, i) => (i === 207 ? "golden retriever" : `thing ${i}`));
  await withModels(page, (models) =>
    models.push({ name: "dit", file: "dit.safetensors", kind: "checkpoint", native_size: 256, classes: names, bytes: 1 }),
  );
  await open();
  await page.getByLabel("Model", { exact: true }).selectOption("dit");
  await expect(prompt(page)).toHaveCount(0);
  await page.getByLabel("What to draw").getByPlaceholder("Find one of 1000 classes").fill("golden");
  await page.getByText("golden retriever").click();
  await expect(page.locator(".prompt.class .tokens")).toHaveText("golden retriever");
  await expect(page.getByLabel("Width", { exact: true })).toHaveAttribute("placeholder", "256");
  let order = null;
  await page.route("**/api/v1/jobs", async (route) => {
    if (route.request().method() !== "POST") return route.continue();
    order = JSON.parse(route.request().postData());
    return route.fulfill({ status: 400, json: { error: { code: "test", message: "enough" } } });
  });
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toHaveText("Enough");
  expect(order).toEqual({ model: "dit", request: { class: "207", seed: -1 } });
  await page.getByLabel("Model", { exact: true }).selectOption("sdgo-noto");
  await expect(prompt(page)).toBeVisible();
});

test("what a picture says and the form has no field for goes along", async ({ page, open }) => {
  await open();
  const out = await page.evaluate(async () => {
    const { fromRequest, request } = await import("/js/state/order.js");
    const given = {
      prompt: "a",
      negative: "b",
      steps: 9,
      seed: "5",
      to: "a dog",
      at: 0.3,
      original_size: "512x512",
      hires: [{ scale: 2 }, { scale: 3 }],
      sampler_options: { eta: 0.5 },
    };
    const values = { mode: "create", ...fromRequest(given) };
    return [given, request(values)];
  });
  expect(out[1]).toEqual(out[0]);
});

test("an upscaler of the models folder enlarges", async ({ page, open }) => {
  await withModels(page, (models) => models.push({ name: "x4", file: "x4.safetensors", kind: "upscaler", scale: 4, bytes: 1 }));
  await open();
  await page.getByText("Upscale", { exact: true }).first().click();
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Choose a picture" }).click()]);
  await chooser.setFiles({ name: "a.png", mimeType: "image/png", buffer: png({ width: 96, height: 64 }) });
  await page.getByLabel("Method").selectOption("x4");
  await expect(prompt(page)).toHaveCount(0); // a network that enlarges takes no words
  await number(page, "Scale", 3);
  const [request] = await Promise.all([
    page.waitForRequest((r) => r.url().endsWith("/api/v1/jobs") && r.method() === "POST"),
    page.locator("#generate").click(),
  ]);
  expect(JSON.parse(request.postData())).toEqual({ image: expect.stringMatching(/^id:/), upscale: { model: "x4", scale: 3 } });
  await expect(page.locator(".notice.error")).toContainText("x4"); // which this server does not really have
});

test("numbers of a sampler go with it", async ({ page, open }) => {
  await open();
  await prompt(page).fill("a kite");
  await page.getByText("More", { exact: true }).click();
  await number(page, "eta", 0.5);
  await number(page, "s noise", 0.9);
  expect((await generate(page)).order.request.sampler_options).toEqual({ eta: 0.5, s_noise: 0.9 });
  await page.getByLabel("Sampler", { exact: true }).selectOption("euler"); // which has no eta
  expect((await generate(page)).order.request).toMatchObject({ sampler: "euler", sampler_options: { s_noise: 0.9 } });
  await page.getByLabel("Sampler", { exact: true }).selectOption("dpm++2m"); // and this has none
  const { order, job } = await generate(page);
  expect([order.request.sampler_options, job.status]).toEqual([undefined, "done"]);
});

test("numbers are held to their ranges", async ({ page, open }) => {
  await open();
  await number(page, "Width", 100);
  await expect(page.getByLabel("Width", { exact: true })).toHaveValue("104");
  await page.getByLabel("Width", { exact: true }).fill("");
  await number(page, "Steps", 5000);
  await expect(page.getByLabel("Steps", { exact: true })).toHaveValue("1000");
  await page.getByRole("button", { name: "Steps: back to the default" }).click();
  await expect(page.getByLabel("Steps", { exact: true })).toHaveValue("");
  await page.getByLabel("Steps, slider").fill("3");
  await expect(page.getByLabel("Steps", { exact: true })).toHaveValue("3");
  await number(page, "Seed", "no number");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("");
  await prompt(page).fill("a kite");
  const { order } = await generate(page);
  expect(order.request).toEqual({ prompt: "a kite", steps: 3, seed: -1 });
  await page.getByRole("button", { name: "The seed of the last picture" }).click();
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue(/^\d+$/);
  expect((await submit(page)).order.request.seed).toBeGreaterThanOrEqual(0);
});

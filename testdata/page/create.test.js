// Making pictures: the job, its progress, its end.

import { draw, ended, expect, generate, number, pixels, ready, submit, test } from "./fixture.js";

test("a picture is made with the built-in model", async ({ page, open }) => {
  await open();
  await expect(page.getByRole("heading", { name: "What shall it be?" })).toBeVisible();
  await expect(page.getByLabel("Model", { exact: true })).toHaveValue("sdgo-noto");
  const { order, job } = await draw(page, { prompt: "a red apple on a yellow background", seed: "1", steps: 8 });
  expect(order).toEqual({ model: "sdgo-noto", request: { prompt: "a red apple on a yellow background", steps: 8, seed: 1 } });
  expect(job.status).toBe("done");

  const shown = page.locator(".stage figure img");
  await expect(shown).toHaveAttribute("alt", "a red apple on a yellow background");
  expect(await shown.evaluate((img) => img.decode().then(() => img.naturalWidth))).toBe(128);
  await expect(page.locator(".tile")).toHaveCount(1);

  // It is a picture of something yellow and red, not of nothing.
  const { data } = await pixels(page, job.pictures[0].url);
  expect([data[0] > 180, data[1] > 130, data[2] < 120]).toEqual([true, true, true]);
  const middle = 4 * (64 * 128 + 64);
  expect(data[middle] > data[middle + 1] + 60).toBe(true);
});

test("an idea of the empty page is drawn at once", async ({ page, open }) => {
  await open();
  await page.getByRole("button", { name: "a rocket on a cyan background" }).click();
  await expect(page.locator(".tile")).toHaveCount(1);
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a rocket on a cyan background");
});

test("progress is shown: bar, steps, time, preview, title", async ({ page, open }) => {
  await open();
  await page.getByLabel("Prompt", { exact: true }).fill("a rocket on a cyan background");
  await number(page, "Steps", 1000);
  const { job } = await submit(page);
  await expect(page.locator(".progress .line")).toHaveText(/Step \d+ of 1000 · .* left/);
  const bar = page.getByRole("progressbar");
  await expect.poll(async () => Number(await bar.getAttribute("aria-valuenow"))).toBeGreaterThan(4);
  await expect(page.locator(".stage img.preview")).toBeVisible();
  const first = await page.locator(".stage img.preview").getAttribute("src");
  await expect(page.locator(".stage img.preview")).not.toHaveAttribute("src", first); // it is live
  expect(await page.title()).toMatch(/^\d+ % · sdgo$/);

  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await ended(page, job.id);
  expect((await (await page.request.get(job.poll_url)).json()).status).toBe("cancelled");
  await expect(page.locator(".outcome")).toHaveText("Cancelled");
  await expect(page).toHaveTitle("sdgo");
});

test("one picture of several is skipped", async ({ page, open }) => {
  await open();
  await page.getByLabel("Prompt", { exact: true }).fill("a kite");
  await number(page, "Steps", 300);
  await number(page, "Pictures", 2);
  const { job } = await submit(page);
  await expect(page.locator(".progress .line")).toHaveText(/Picture 1 of 2 · step/);
  await page.getByRole("button", { name: "Skip this one" }).click();
  await ended(page, job.id);
  const after = await (await page.request.get(job.poll_url)).json();
  expect([after.status, after.progress.skipped, after.pictures.length]).toEqual(["done", 1, 1]);
  await expect(page.locator(".stage figure")).toHaveCount(1);
});

test("jobs wait, say where, and can be cancelled", async ({ page, open }) => {
  await open();
  await page.getByLabel("Prompt", { exact: true }).fill("a kite");
  await number(page, "Steps", 1000);
  const one = await submit(page);
  await expect(page.locator(".progress .line")).toHaveText(/Step/);
  const two = await submit(page);
  const three = await submit(page);
  // How many share a pass is the server's matter; all of them are listed.
  await expect(page.locator(".waiting li")).toHaveCount(2);
  await page.getByRole("button", { name: "Cancel this job" }).last().click();
  await expect(page.locator(".waiting li")).toHaveCount(1);
  await page.getByRole("button", { name: "Cancel this job" }).click();
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  for (const { job } of [one, two, three]) {
    await expect.poll(async () => (await (await page.request.get(job.poll_url)).json()).status).toBe("cancelled");
  }
});

test("what the server refuses is said in its words", async ({ page, open }) => {
  await open();
  await number(page, "Width", 8184);
  await number(page, "Height", 8184);
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("pixels");
  await page.getByRole("button", { name: "Close the message" }).click();
  await expect(page.locator(".notice")).toHaveCount(0);
});

test("a job that fails says why", async ({ page, open }) => {
  await open();
  await page.getByLabel("Prompt", { exact: true }).fill("a kite <lora:nothing:1>");
  await page.locator("#generate").click();
  await expect(page.locator(".outcome, .notice.error").filter({ hasText: "nothing" })).toBeVisible();
});

test("a seed of 64 bits stays what it is", async ({ page, open }) => {
  await open();
  const seed = "18446744073709551615";
  const [request] = await Promise.all([
    page.waitForRequest((r) => r.url().endsWith("/api/v1/jobs") && r.method() === "POST"),
    draw(page, { prompt: 'a "seed":"12" on red', seed }),
  ]);
  expect(request.postData()).toContain(`"seed":${seed}`);
  expect(JSON.parse(request.postData()).request.prompt).toBe('a "seed":"12" on red');
  await page.locator(".tile").first().click();
  await expect(page.locator(".details")).toContainText(seed);
});

test("settings reach the server, and the picture says them", async ({ page, open }) => {
  await open();
  await page.getByRole("button", { name: "3:2" }).click();
  await page.getByRole("button", { name: "Swap width and height" }).click();
  await number(page, "Guidance", 4.5);
  await page.getByLabel("Sampler", { exact: true }).selectOption("dpm++2m");
  await page.getByLabel("Schedule", { exact: true }).selectOption("karras");
  await page.getByLabel("Negative prompt", { exact: true }).fill("blue");
  await page.getByText("Second pass").click();
  await page.getByLabel("Draw again, larger").check();
  await page.getByLabel("Scale of the second pass", { exact: true }).fill("1.5");
  await page.getByText("More", { exact: true }).click();
  await page.getByLabel("Kind of guidance", { exact: true }).selectOption("cfg_rescale");
  await number(page, "phi", 0.5);
  await page.getByLabel("Prompt", { exact: true }).fill("a banana");
  await number(page, "Steps", 4);
  await number(page, "Seed", 7);
  const { order, job } = await generate(page);
  expect(order.request).toEqual({
    prompt: "a banana",
    negative: "blue",
    width: 104,
    height: 160,
    steps: 4,
    cfg_scale: 4.5,
    sampler: "dpm++2m",
    schedule: "karras",
    guidance: "cfg_rescale",
    guidance_options: { phi: 0.5 },
    seed: 7,
    hires: [{ scale: 1.5 }],
  });
  expect(job.status).toBe("done");
  expect([job.pictures[0].width, job.pictures[0].height]).toEqual([152, 240]);
  await page.getByRole("button", { name: "All back to the defaults" }).click();
  await expect(page.getByLabel("Steps", { exact: true })).toHaveValue("");
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a banana");
});

test("the form and the pictures are there after a reload, and a job goes on", async ({ page, open }) => {
  await open();
  await draw(page, { prompt: "a green pear", seed: "5", steps: 4 });
  const before = await page.locator(".tile").count();
  await number(page, "Steps", 1000);
  const { job } = await submit(page);
  await expect(page.locator(".progress .line")).toHaveText(/Step/);
  await page.reload();
  await ready(page);
  await expect(page.locator(".tile")).toHaveCount(before);
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a green pear");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("5");
  await expect(page.locator(".progress .line")).toHaveText(/Step \d+ of 1000/);
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await ended(page, job.id);
});

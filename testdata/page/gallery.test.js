// Pictures that were made: enlarged, reused, downloaded, deleted; in every tab.

import { draw, expect, pixels, ready, test } from "./fixture.js";

test("the lightbox shows a picture, its parameters, and the next one", async ({ page, open, context }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await open();
  await draw(page, { prompt: "a red apple", seed: "1" });
  await draw(page, { prompt: "a banana", seed: "2" });
  await page.locator(".tile").first().click();
  const box = page.getByRole("dialog", { name: "Picture" });
  await expect(box.locator(".prompt-text")).toHaveText("a banana");
  await expect(box.locator("dl")).toContainText("euler_a");
  await page.keyboard.press("ArrowRight");
  await expect(box.locator(".prompt-text")).toHaveText("a red apple");
  await expect(box.locator("dl")).toContainText("Seed1");
  await box.getByRole("button", { name: "Inpaint" }).focus(); // which is drawn anew with the next picture
  await page.keyboard.press("ArrowLeft");
  await expect(box.locator(".prompt-text")).toHaveText("a banana");
  await page.keyboard.press("ArrowRight");
  await expect(box.locator(".prompt-text")).toHaveText("a red apple");
  await box.getByRole("button", { name: "The newer picture" }).click();
  await expect(box.locator(".prompt-text")).toHaveText("a banana");
  await box.getByRole("button", { name: "Copy the parameters" }).click();
  await expect(page.locator(".notice")).toHaveText("Copied.");
  await box.getByRole("button", { name: "Close the message" }).click(); // it is before the dialog, not below
  await expect(page.locator(".notice")).toHaveCount(0);
  expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(/^a banana\nSteps: 4, .*Seed: 2/);
  await page.keyboard.press("z");
  await expect(box.locator(".view")).toHaveClass(/actual/);
  await page.keyboard.press("Escape");
  await expect(box).toHaveCount(0);
});

test("a picture's parameters make the same picture again", async ({ page, open }) => {
  await open();
  const first = await draw(page, { prompt: "a waffle on a green background", seed: "77", steps: 5 });
  await page.getByLabel("Prompt", { exact: true }).fill("something else");
  await page.getByRole("button", { name: "All back to the defaults", includeHidden: true }).evaluate((b) => b.click());
  await page.locator(".tile").first().click();
  await page.getByRole("dialog").getByRole("button", { name: "Use its parameters" }).click();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a waffle on a green background");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("77");
  const again = await draw(page, { steps: 5 });
  expect(await pixels(page, again.job.pictures[0].url)).toEqual(await pixels(page, first.job.pictures[0].url));
});

test("a picture is downloaded under a name of its own", async ({ page, open }) => {
  await open();
  const { job } = await draw(page, { prompt: "a kite" });
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator(".stage").getByRole("link", { name: "Download" }).click(),
  ]);
  expect(download.suggestedFilename()).toBe(`sdgo-${job.pictures[0].id.slice(0, 8)}.png`);
});

test("a picture is deleted when asked twice, in all tabs", async ({ page, open, context, server }) => {
  await open();
  const other = await context.newPage();
  await other.goto("/");
  await ready(other);
  const { job } = await draw(page, { prompt: "a spider" });
  const { id, url } = job.pictures[0];
  await expect(other.locator(`[data-id="${id}"]`)).toHaveCount(1); // jobs of one tab are known in the other
  await page.locator(`[data-id="${id}"]`).focus();
  await page.keyboard.press("Delete");
  await page.getByRole("button", { name: "Keep" }).click();
  await expect(page.locator(`[data-id="${id}"]`)).toHaveCount(1);
  await page.locator(`[data-id="${id}"]`).focus();
  await page.keyboard.press("Delete");
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await expect(page.locator(`[data-id="${id}"]`)).toHaveCount(0);
  await expect(other.locator(`[data-id="${id}"]`)).toHaveCount(0);
  expect((await page.request.get(server.address + url)).status()).toBe(404);
});

test("many pictures come a page at a time", async ({ page, open }) => {
  await page.route(/api\/v1\/pictures\?/, async (route) => {
    const after = Number(new URL(route.request().url()).searchParams.get("after") ?? 0);
    const list = Array.from({ length: 60 }, (_, i) => ({
      id: String(after + i + 1),
      created: new Date(Date.now() - (after + i) * 3_600_000).toISOString(),
      format: "png",
      width: 64 + 8 * (i % 5),
      height: 64,
      bytes: 1,
      parameters: `picture ${after + i + 1}`,
      url: "/icon.svg",
      thumbnail_url: "/icon.svg",
    }));
    await route.fulfill({ json: { pictures: list, next: after < 120 ? "more" : undefined } });
  });
  await open();
  expect(await page.locator(".tile").count()).toBeLessThan(180);
  await page.locator("#pictures").evaluate((el) => el.scrollTo(0, el.scrollHeight));
  await expect
    .poll(async () => {
      await page.locator("#pictures").evaluate((el) => el.scrollTo(0, el.scrollHeight));
      return page.locator(".tile").count();
    })
    .toBe(180);
  await expect(page.locator(".day h2").first()).toContainText("Today");

  // Coming back to the tab asks for the newest ones, and keeps the others.
  const asked = page.waitForResponse((r) => /pictures\?limit=\d+$/.test(r.url()));
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await asked;
  await expect(page.locator(".tile")).toHaveCount(180);
});

test("the page says when the server is gone, and goes on when it is back", async ({ browser, start }) => {
  const one = await start();
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(one.address);
  await ready(page);
  await one.stop();
  await page.getByLabel("Prompt", { exact: true }).fill("a kite");
  await page.locator("#generate").click();
  await expect(page.locator(".offline")).toContainText("does not answer");
  const two = await start({ listen: one.address.replace("http://", ""), outputs: one.folder });
  await expect(page.locator(".offline")).toHaveText("");
  await page.locator("#generate").click();
  await expect(page.locator(".tile")).toHaveCount(1);

  // A job whose server is killed is lost, and that is said.
  await page.getByLabel("Steps", { exact: true }).fill("1000");
  await page.getByLabel("Steps", { exact: true }).press("Enter");
  await expect(page.locator(".progress .line")).toHaveText(/Step/);
  await two.stop("SIGKILL");
  await expect(page.locator(".offline")).toContainText("does not answer");
  await start({ listen: one.address.replace("http://", ""), outputs: one.folder });
  await expect(page.locator(".outcome")).toContainText("The server was started anew");
  await expect(page.locator(".offline")).toHaveText("");
  await context.close();
});

test("a server with users serves the page to them", async ({ browser, start }) => {
  const server = await start({ env: { SDGO_SERVE_AUTH: "anna:a-secret" } });
  const context = await browser.newContext({ httpCredentials: { username: "anna", password: "a-secret" } });
  const page = await context.newPage();
  expect((await fetch(server.address)).status).toBe(401);
  await page.goto(server.address);
  await ready(page);
  await page.getByLabel("Prompt", { exact: true }).fill("a kite");
  await page.locator("#generate").click();
  await expect(page.locator(".tile")).toHaveCount(1);
  await context.close();
});

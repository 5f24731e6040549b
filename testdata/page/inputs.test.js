// Pictures that are brought along: dropped, pasted, chosen; and masks.

import { draw, drop, expect, generate, number, pixels, ready, test } from "./fixture.js";
import { png } from "./png.js";

const told =
  "a banana on a purple background\nNegative prompt: blue\nSteps: 6, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 99, Size: 128x128, Model: elsewhere, Wildcard: yes";

test("a picture that is dropped fills the form with its parameters", async ({ page, open }) => {
  await open();
  await drop(page, "#pictures", { name: "a.png", type: "image/png", data: png({ parameters: told }) });
  const dialog = page.getByRole("dialog", { name: "The picture that was dropped" });
  await expect(dialog.locator(".prompt-text")).toHaveText("a banana on a purple background");
  await expect(dialog.locator("dl")).toContainText("Wildcardyes"); // what is not understood is shown, too
  await dialog.getByRole("button", { name: "Use its parameters" }).click();
  await expect(page.getByLabel("Prompt", { exact: true })).toHaveValue("a banana on a purple background");
  await expect(page.getByLabel("Negative prompt", { exact: true })).toHaveValue("blue");
  await expect(page.getByLabel("Steps", { exact: true })).toHaveValue("6");
  await expect(page.getByLabel("Sampler", { exact: true })).toHaveValue("dpm++2m");
  await expect(page.getByLabel("Schedule", { exact: true })).toHaveValue("karras");
  await expect(page.getByLabel("Seed", { exact: true })).toHaveValue("99");
  await expect(page.locator(".notice")).toContainText("elsewhere, is not here");
});

test("one that is pasted is image to image's", async ({ page, open }) => {
  await open();
  const base64 = png({ width: 128, height: 128 }).toString("base64");
  await page.evaluate((text) => {
    const data = new DataTransfer();
    data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "x.png", { type: "image/png" }));
    document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true }));
  }, base64);
  const dialog = page.getByRole("dialog", { name: "The picture that was dropped" });
  await expect(dialog).toContainText("says nothing about how it was made");
  await dialog.getByRole("button", { name: "Image to image" }).click();
  await expect(page.getByLabel("Image", { exact: true })).toBeChecked();
  await page.getByLabel("Prompt", { exact: true }).fill("a red apple");
  await number(page, "Strength", 0.42); // not one of the slider's steps
  await number(page, "Steps", 5);
  const { order, job } = await generate(page);
  expect(order.image).toMatch(/^id:[0-9a-f]{32}$/);
  expect(order.request.strength).toBe(0.42);
  expect(job.status).toBe("done");
  expect(job.pictures[0].parameters).toContain("Denoising strength: 0.42");
});

test("what is no picture is refused, and nothing else happens", async ({ page, open }) => {
  await open();
  await drop(page, "#pictures", { name: "a.txt", type: "text/plain", data: Buffer.from("hello") });
  await expect(page.locator(".notice.error")).toContainText("That is no picture");
  await drop(page, "#pictures", { name: "a.png", type: "image/png", data: Buffer.from("no PNG at all") });
  await expect(page.locator(".notice.error")).toHaveCount(2);
  await expect(page.getByRole("dialog")).toHaveCount(0);
});

test("texts of a foreign picture are texts", async ({ page, open }) => {
  await open();
  await page.evaluate(() => {
    globalThis.hacked = false;
  });
  const evil = '<img src=x onerror="globalThis.hacked=true"><script>globalThis.hacked=true</script>';
  await drop(page, "#pictures", {
    name: "a.png",
    type: "image/png",
    data: png({ parameters: `${evil}\nNegative prompt: ${evil}\nSteps: 4, Seed: 1, Size: 128x128, <b>Key</b>: <i>value</i>` }),
  });
  const dialog = page.getByRole("dialog");
  await expect(dialog.locator(".prompt-text")).toHaveText(evil);
  expect(await dialog.locator("script, b, i, .prompt-text img").count()).toBe(0);
  await dialog.getByRole("button", { name: "Use its parameters" }).click();
  await generate(page);
  await page.locator(".tile").first().click();
  await expect(page.getByRole("dialog").locator(".prompt-text")).toHaveText(evil);
  expect(await page.evaluate(() => globalThis.hacked)).toBe(false);
});

/** Draws a line on the board, in parts of its size from its middle. */
async function stroke(page, from, to) {
  const box = await page.locator(".board").boundingBox();
  const at = ([x, y]) => [box.x + box.width / 2 + x, box.y + box.height / 2 + y];
  await page.mouse.move(...at(from));
  await page.mouse.down();
  await page.mouse.move(...at(to), { steps: 8 });
  await page.mouse.up();
}

/** How many pixels of the mask that is being painted are set. */
const painted = (page) =>
  page.locator(".board canvas").evaluate((c) => {
    const { data } = c.getContext("2d").getImageData(0, 0, c.width, c.height);
    let n = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i] > 127) n++;
    return n;
  });

test("a mask is painted, and only what it covers is redrawn", async ({ page, open }) => {
  await open();
  const first = await draw(page, { prompt: "a red apple on a yellow background", seed: "1", steps: 8 });
  await page.locator(".stage").getByRole("button", { name: "Inpaint" }).click();
  const dialog = page.getByRole("dialog", { name: "Mask" });
  await expect(dialog).toBeVisible();
  expect(await painted(page)).toBe(0);

  await stroke(page, [-150, 0], [150, 0]);
  const line = await painted(page);
  expect(line).toBeGreaterThan(500);
  await page.keyboard.press("e");
  await stroke(page, [0, -100], [0, 100]);
  const erased = await painted(page);
  expect(erased).toBeLessThan(line);
  await page.keyboard.press("Control+z");
  expect(await painted(page)).toBe(line);
  await page.keyboard.press("Control+y");
  expect(await painted(page)).toBe(erased);
  await page.keyboard.press("i");
  expect(await painted(page)).toBeGreaterThan(128 * 128 - line - 300);
  await page.keyboard.press("Control+z");
  await page.keyboard.press("x");
  expect(await painted(page)).toBe(0);
  await page.keyboard.press("Control+z");
  expect(await painted(page)).toBe(erased);

  // Zoomed, the same stroke covers less of the picture.
  const size = dialog.locator("output");
  const before = Number(await size.textContent());
  await page.keyboard.press("]");
  expect(Number(await size.textContent())).toBeGreaterThan(before);
  await page.keyboard.press("[");
  await page.mouse.move(640, 420);
  const wide = (await page.locator(".board .sheet").boundingBox()).width;
  await page.mouse.wheel(0, -400);
  await expect.poll(async () => (await page.locator(".board .sheet").boundingBox()).width).toBeGreaterThan(wide * 1.3);
  await page.keyboard.press("0");
  await expect.poll(async () => Math.round((await page.locator(".board .sheet").boundingBox()).width)).toBe(Math.round(wide));

  await page.getByRole("button", { name: "Done" }).click();
  await expect(page.locator(".source .mask")).toBeVisible();
  await page.getByLabel("Prompt", { exact: true }).fill("a banana on a blue background"); // the mask stays
  await number(page, "Seed", 3);
  const { order, job } = await generate(page);
  expect(order.mask).toMatch(/^data:image\/png;base64,/);
  expect(order.image).toBe(`id:${first.job.pictures[0].id}`);
  expect(job.status).toBe("done");

  const [old, now, mask] = [
    await pixels(page, first.job.pictures[0].url),
    await pixels(page, job.pictures[0].url),
    await pixels(page, order.mask),
  ];
  let [inside, outside] = [0, 0];
  for (let i = 0; i < old.data.length; i += 4) {
    const changed = [0, 1, 2].some((c) => Math.abs(old.data[i + c] - now.data[i + c]) > 24);
    if (mask.data[i] === 255 && changed) inside++;
    if (mask.data[i] === 0 && [0, 1, 2].some((c) => old.data[i + c] !== now.data[i + c])) outside++;
  }
  expect(outside).toBe(0);
  expect(inside).toBeGreaterThan(100);

  await page.reload();
  await ready(page);
  await expect(page.locator(".source .mask")).toBeVisible(); // picture and mask outlive a reload
  await page.getByRole("button", { name: "Edit the mask" }).click();
  await expect.poll(() => painted(page)).toBe(erased);
});

test("a mask is loaded from a file and saved to one", async ({ page, open }) => {
  await open();
  await page.getByText("Inpaint", { exact: true }).first().click();
  const choose = async (button, file) => {
    const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: button }).click()]);
    await chooser.setFiles({ name: "a.png", mimeType: "image/png", buffer: png(file) });
  };
  await choose("Choose a picture", { width: 96, height: 64 });
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("Paint over what is to be redrawn first.");
  await page.getByRole("button", { name: "Paint a mask" }).click();
  await choose("Load a mask", { width: 48, height: 32, colour: [255, 255, 255] }); // of another size
  await expect.poll(() => painted(page)).toBe(96 * 64);
  await stroke(page, [0, 0], [10, 0]);
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Save the mask" }).click()]);
  expect(download.suggestedFilename()).toBe("mask.png");
  await page.getByRole("button", { name: "Discard" }).click();
  await expect(page.locator(".source .mask")).toHaveCount(0);
});

test("a picture is chosen, drawn again larger, and sent anew when the server forgot it", async ({ page, open }) => {
  await open();
  await page.getByText("Upscale", { exact: true }).first().click();
  await page.locator("#generate").click();
  await expect(page.locator(".notice.error")).toContainText("Choose a picture first.");
  const [chooser] = await Promise.all([page.waitForEvent("filechooser"), page.getByRole("button", { name: "Choose a picture" }).click()]);
  await chooser.setFiles({ name: "a.png", mimeType: "image/png", buffer: png({ width: 96, height: 64, colour: [20, 140, 60] }) });
  await expect(page.locator(".source")).toContainText("96 × 64");
  await expect(page.locator(".settings")).toContainText("96 × 64 becomes 192 × 128");
  await page.getByLabel("Prompt", { exact: true }).fill("a tree");
  await number(page, "Steps", 4);
  let orders = 0;
  await page.route("**/api/v1/jobs", async (route) => {
    if (route.request().method() !== "POST" || orders++ > 0) return route.continue();
    return route.fulfill({
      status: 400,
      json: {
        error: {
          code: "invalid_request",
          message: "gone",
          problems: [{ field: "image", message: "no upload and no picture has this id" }],
        },
      },
    });
  });
  const [reply] = await Promise.all([
    page.waitForResponse((r) => r.url().endsWith("/api/v1/jobs") && r.status() === 202),
    page.locator("#generate").click(),
  ]);
  expect(JSON.parse(reply.request().postData()).request).toMatchObject({ width: 192, height: 128, strength: 0.3 });
  await expect(page.locator(".stage figure img")).toHaveAttribute("width", "192");
});

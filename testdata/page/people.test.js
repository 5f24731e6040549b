// For everybody: dark, phones, the keyboard alone, screen readers.

import AxeBuilder from "@axe-core/playwright";
import { draw, drop, expect, ready, test } from "./fixture.js";
import { png } from "./png.js";

/** No serious finding of axe-core. */
async function accessible(page, what) {
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations
    .filter((v) => ["serious", "critical"].includes(v.impact))
    .map((v) => `${what}: ${v.id}: ${v.nodes.map((n) => n.target).join(" ")}`);
  expect(serious).toEqual([]);
}

const paper = (page) =>
  page.evaluate(() => getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor);

test.describe("dark", () => {
  test.use({ colorScheme: "dark" });
  test("as the system, or as chosen, which is kept", async ({ page, open }) => {
    await open();
    expect(await paper(page)).toContain("rgb(19, 18, 17)");
    await page.getByRole("button", { name: "Colours: as the system" }).click();
    expect(await paper(page)).toContain("rgb(244, 242, 238)");
    await page.reload();
    await ready(page);
    expect(await paper(page)).toContain("rgb(244, 242, 238)");
    await page.getByRole("button", { name: "Colours: light" }).click();
    expect(await paper(page)).toContain("rgb(19, 18, 17)");
    await page.getByRole("button", { name: "Colours: dark" }).click();
    await expect(page.getByRole("button", { name: "Colours: as the system" })).toBeVisible();
  });
});

for (const scheme of ["light", "dark"]) {
  test.describe(`axe-core, ${scheme}`, () => {
    test.use({ colorScheme: scheme });
    test("finds nothing serious", async ({ page, open }) => {
      await open();
      await draw(page, { prompt: "a red apple", seed: "1" });
      await page.getByText("Second pass").click();
      await page.getByLabel("Draw again, larger").check();
      await page.getByText("More", { exact: true }).click();
      await accessible(page, "page");
      await page.locator(".tile").first().click();
      await expect(page.getByRole("dialog").locator("dl")).toBeVisible();
      await accessible(page, "lightbox");
      await page.keyboard.press("Escape");
      await page.locator(".stage").getByRole("button", { name: "Inpaint" }).click();
      await expect(page.getByRole("dialog", { name: "Mask" })).toBeVisible();
      await accessible(page, "mask");
      await page.keyboard.press("Escape");
      await accessible(page, "inpaint");
      await drop(page, "#pictures", { name: "a.png", type: "image/png", data: png({ parameters: "a\nSteps: 4, Seed: 1" }) });
      await expect(page.getByRole("dialog")).toBeVisible();
      await accessible(page, "inspect");
      await page.keyboard.press("Escape");
      await page.locator("#keys-button").click();
      await accessible(page, "keys");
    });
  });
}

test.describe("on a phone", () => {
  test.use({ viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true });
  test("everything fits, and pictures are seen whole", async ({ page, open }) => {
    await open();
    const fits = () => page.evaluate(() => document.documentElement.scrollWidth <= innerWidth);
    expect(await fits()).toBe(true);
    await page.getByLabel("Prompt", { exact: true }).fill("a red apple");
    await page.getByRole("button", { name: "Generate" }).tap();
    await expect(page.locator(".tile").first()).toBeVisible(); // the view of the pictures is shown
    await expect(page.locator("#work")).toBeHidden();
    expect(await fits()).toBe(true);
    const box = await page.locator(".stage figure img").first().boundingBox();
    expect(box.x >= 0 && box.x + box.width <= 390 && box.y + box.height <= 844 - 58).toBe(true);
    await page.locator(".tile").first().tap();
    const large = await page.getByRole("dialog").locator(".sheet img").boundingBox();
    expect(large.x >= 0 && large.x + large.width <= 390 && large.y >= 0 && large.y + large.height <= 844).toBe(true);
    await accessible(page, "phone");
    await page.getByRole("button", { name: "Close", exact: true }).tap();
    await page.getByRole("button", { name: "Create", exact: true }).tap();
    await expect(page.locator("#work")).toBeVisible();
    await accessible(page, "phone, form");
    for (const el of await page
      .locator("#work button:visible, #work input:visible:not([type=range]):not([type=radio]):not([role=switch]), #tabs button")
      .all()) {
      const { height } = await el.boundingBox();
      expect(height, await el.evaluate((e) => e.outerHTML.slice(0, 90))).toBeGreaterThanOrEqual(24);
    }
  });
});

test("the keyboard alone: draw, cancel, look, inpaint, delete", async ({ page, open }) => {
  await open();
  const focus = (name) =>
    page.evaluate(
      (n) =>
        (
          document.activeElement.labels?.[0]?.textContent ??
          document.activeElement.getAttribute("aria-label") ??
          document.activeElement.textContent
        ).includes(n),
      name,
    );
  const tabTo = async (name) => {
    for (let i = 0; i < 80; i++) {
      if (await focus(name)) return;
      await page.keyboard.press("Tab");
    }
    throw new Error(`Tab never came to ${name}`);
  };
  await page.keyboard.press("Tab");
  expect(await focus("Skip to the pictures")).toBe(true);
  await tabTo("Prompt");
  await page.keyboard.type("a red apple");
  await tabTo("Steps");
  await page.keyboard.press("Tab"); // the number comes before its slider
  await page.keyboard.press("Control+Enter");
  await expect(page.locator(".tile")).toHaveCount(1);
  await expect(page.locator("#notices [role=status]")).toHaveText("The picture is ready."); // what is heard

  await page.getByLabel("Steps", { exact: true }).focus();
  await page.keyboard.type("1000");
  await page.keyboard.press("Control+Enter");
  await expect(page.locator(".progress .line")).toHaveText(/Step/);
  await page.keyboard.press("Escape");
  await expect(page.locator(".outcome")).toHaveText("Cancelled");

  expect(await page.locator(".tile").evaluateAll((all) => all.filter((t) => t.tabIndex === 0).length)).toBe(1); // one stop of Tab
  await tabTo("a red apple");
  await page.keyboard.press("Enter");
  const lightbox = page.getByRole("dialog", { name: "Picture" });
  await expect(lightbox).toBeVisible();
  await tabTo("Inpaint");
  await page.keyboard.press("Enter");
  const mask = page.getByRole("dialog", { name: "Mask" });
  await expect(mask).toBeVisible();
  await expect(page.locator(".board")).toBeFocused();
  await page.keyboard.press("Space");
  for (let i = 0; i < 6; i++) {
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("Space");
  }
  await page.keyboard.press("Escape"); // keeps what was painted
  await expect(page.locator(".source .mask")).toBeVisible();

  await page.locator(".tile").first().focus();
  await page.keyboard.press("Delete");
  await page.keyboard.press("Enter");
  await expect(page.locator(".tile")).toHaveCount(0);
  await page.locator("#pictures").focus();
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
});

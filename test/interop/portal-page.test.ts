/** The portal's page in Debian's Chromium. */
import { transportAddress } from "@turnpike/stun";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type IceServer, internal, startLinkedRelay, startTestPortal } from "../support/portal.ts";
import { keep } from "../support/relay.ts";
import { UdpTurnClient } from "../support/udp-turn-client.ts";
import { ensureDebianPackages } from "./support/debian.ts";

let browser: Browser;
beforeAll(async () => {
  ensureDebianPackages({ packages: ["chromium"], commands: ["chromium"] });
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
afterAll(() => browser.close());

/** A page whose errors, and what the content policy refuses, fail the test. */
async function openPage(): Promise<{ readonly page: Page; readonly faults: readonly string[] }> {
  const context = await browser.newContext({ viewport: { width: 1_200, height: 1_400 } });
  keep({ [Symbol.asyncDispose]: () => context.close() });
  const page = await context.newPage();
  const faults: string[] = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    // A 401 is how the page learns that nobody is signed in.
    if (message.type() === "error" && !message.text().includes("401")) faults.push(message.text());
  });
  return { page, faults };
}

it("signs in by the one-time link, shows the fleet live, mints, ends allocations, and signs out", async () => {
  const test = await startTestPortal();
  await startLinkedRelay(test.portal.url, await test.portal.createRelayToken(internal, "eu-1"));
  const { page, faults } = await openPage();
  await page.goto(test.portal.firstStart!.signInUrl);
  await page.getByText("admin (admin)").waitFor();
  expect(new URL(page.url()).pathname).toBe("/");
  const rowsOf = (id: string) => page.locator(`#${id} tr`);
  await rowsOf("relays").filter({ hasText: "eu-1" }).filter({ hasText: "linked" }).waitFor();

  // A name that would be markup stays a name.
  const name = '<img src=x onerror="document.title=1">';
  await page.locator("#mint input[name=user]").fill(name);
  await page.getByRole("button", { name: "Mint" }).click();
  const text = await page.locator("#mint pre").textContent();
  const [{ urls, username, credential }] = JSON.parse(text ?? "").iceServers as [Required<IceServer>];
  const [, port = ""] = /^turn:127\.0\.0\.1:(\d+)/.exec(urls[0]!) ?? [];
  const client = keep(
    await UdpTurnClient.open(transportAddress("127.0.0.1", Number(port)), { username, password: credential }),
  );
  expect(await client.allocate()).toMatchObject({ family: 4 });
  const mine = rowsOf("allocations").filter({ hasText: "<img src=x" });
  await mine.waitFor();
  await rowsOf("events").filter({ hasText: "allocationCreated" }).waitFor();
  await mine.getByRole("button", { name: "End" }).click();
  await mine.waitFor({ state: "detached" });
  expect(await client.refresh(600)).not.toBe("success");

  await page.locator("#users input[name=id]").fill("vera");
  await page.locator("#users select").selectOption("viewer");
  await page.locator("#users input[name=password]").fill("vera-password");
  await page.getByRole("button", { name: "Add" }).click();
  await rowsOf("users").filter({ hasText: "vera" }).waitFor();
  await page.locator("#tokens input[name=label]").fill("ci");
  await page.getByRole("button", { name: "Make" }).click();
  await expect.poll(() => page.locator("#tokens pre").textContent()).toMatch(/^tp_[\w-]{43}/);
  await rowsOf("tokens").filter({ hasText: "ci" }).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();

  // Somebody who may look only.
  await page.locator("#sign-in input[name=username]").fill("vera");
  await page.locator("#sign-in input[name=password]").fill("wrong-password");
  await page.locator("#sign-in button").click();
  await page.getByText("The credentials are wrong or have expired.").waitFor();
  await page.locator("#sign-in input[name=password]").fill("vera-password");
  await page.locator("#sign-in button").click();
  await page.getByText("vera (viewer)").waitFor();
  await rowsOf("relays").filter({ hasText: "eu-1" }).waitFor();
  expect(await page.locator("#mint").isVisible()).toBe(false);
  expect(await page.locator("#users").isVisible()).toBe(false);
  expect(await page.getByRole("button", { name: "Drain" }).count()).toBe(0);
  expect(await page.title()).toBe("Turnpike");
  expect(faults.filter((fault) => !fault.includes("403"))).toEqual([]);
});

it("says that a link is used up", async () => {
  const test = await startTestPortal();
  const { page, faults } = await openPage();
  await page.goto(`${test.portal.url}/sign-in#${"x".repeat(43)}`);
  await page.getByText("This link is used up or too old.").waitFor();
  expect(page.url()).not.toContain("xxx");
  expect(faults).toEqual([]);
});

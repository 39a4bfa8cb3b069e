import { OperationContext } from "@turnpike/authn";
import { ManualClock } from "@turnpike/authn/testing";
import { expect, test } from "vitest";
import { FleetSecrets } from "./fleet-secrets.ts";
import { messagesAfter } from "./outbox.ts";
import { openStore } from "./store.ts";

const ctx = OperationContext.internal("test");

async function prepared() {
  const clock = new ManualClock();
  const store = await openStore({ location: ":memory:", clock });
  const secrets = new FleetSecrets(store);
  await secrets.prepare(ctx);
  const told = async (): Promise<unknown> => (await messagesAfter(ctx, store, 0)).at(-1)?.message;
  return { clock, secrets, told };
}

test("a new secret is told at once and mints when relays know it; the one before is accepted as long as it is kept", async () => {
  const { clock, secrets, told } = await prepared();
  const old = await secrets.minting(ctx);
  await secrets.rotate(ctx, { keepSeconds: 600 });
  const [next, former, ...others] = await secrets.accepted(ctx);
  expect([former, others]).toEqual([old, []]);
  expect(await told()).toEqual({ event: "fleet_secrets", payload: { secrets: [next, old] } });
  expect(await secrets.minting(ctx)).toBe(old);
  clock.advance(5_000);
  expect(await secrets.minting(ctx)).toBe(next);

  clock.advance(594_999);
  await secrets.retire(ctx);
  expect(await secrets.accepted(ctx)).toEqual([next, old]);
  clock.advance(1);
  expect(await secrets.accepted(ctx)).toEqual([next]);
  await secrets.retire(ctx);
  expect(await told()).toEqual({ event: "fleet_secrets", payload: { secrets: [next] } });
});

test("a secret that leaked is refused at once, and so are those before it", async () => {
  const { secrets, told } = await prepared();
  await secrets.rotate(ctx, { keepSeconds: 600 });
  await secrets.rotate(ctx, { keepSeconds: 0 });
  const accepted = await secrets.accepted(ctx);
  expect(accepted).toHaveLength(1);
  expect(await secrets.minting(ctx)).toBe(accepted[0]);
  expect(await told()).toEqual({ event: "fleet_secrets", payload: { secrets: accepted } });
});

test("no more secrets are accepted than a relay takes", async () => {
  const { secrets } = await prepared();
  for (let i = 0; i < 7; i++) await secrets.rotate(ctx, { keepSeconds: 600 });
  await expect(secrets.rotate(ctx, { keepSeconds: 600 })).rejects.toThrow("8 secrets are accepted already");
  expect(await secrets.accepted(ctx)).toHaveLength(8);
  await secrets.rotate(ctx, { keepSeconds: 0 });
});

import { getAttribute, software, transportAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { HOME, requests, world } from "../support/client-requests.ts";

describe("what may be asked for (RFC 8656 §7.1)", () => {
  test("both families, an even port with its neighbour, and the neighbour for another client", () => {
    const network = world();
    const dual = network.client(HOME);
    const both = network.finish(dual, (engine) => engine.allocate({ families: [4, 6] }, network.harness.clock));
    expect(both.method === "allocate" && both.allocated.relayed.map(({ family }) => family)).toEqual([4, 6]);

    const first = network.client(transportAddress("198.51.100.8", 40_000));
    const pair = network.finish(first, (engine) => engine.allocate({ port: "evenPair" }, network.harness.clock));
    const allocated = pair.method === "allocate" ? pair.allocated : undefined;
    expect(allocated!.relayed[0]!.port % 2).toBe(0);
    const second = network.client(transportAddress("198.51.100.9", 40_000));
    const next = network.finish(second, (engine) =>
      engine.allocate({ reservationToken: allocated!.reservationToken! }, network.harness.clock),
    );
    expect(next.method === "allocate" && next.allocated.relayed[0]!.port).toBe(allocated!.relayed[0]!.port + 1);
  });

  test("IPv6 alone; a family that the server hasn't", () => {
    const network = world();
    const six = network.client(HOME);
    const ending = network.finish(six, (engine) => engine.allocate({ families: [6] }, network.harness.clock));
    expect(ending.method === "allocate" && ending.allocated.relayed.map(({ family }) => family)).toEqual([6]);
    const only4 = world({ families: [4] });
    const client = only4.client(HOME);
    expect(only4.finish(client, (engine) => engine.allocate({ families: [6] }, only4.harness.clock))).toMatchObject({
      method: "failed",
      failure: { code: "refused", error: { code: 440 } },
    });
  });

  test("DONT-FRAGMENT where it can't be honoured is refused by name", () => {
    const network = world();
    const client = network.client(HOME);
    expect(
      network.finish(client, (engine) => engine.allocate({ dontFragment: true }, network.harness.clock)),
    ).toMatchObject({ failure: { code: "refused", error: { code: 420 }, unknownAttributes: [0x001a] } });
  });

  test.each([
    ["a TCP allocation over UDP", { transport: "tcp" } as const],
    ["a token and a kind of port", { reservationToken: new Uint8Array(8), port: "even" } as const],
    ["two families and a second port", { families: [4, 6], port: "evenPair" } as const],
    ["no family at all", { families: [] } as const],
  ])("%s throws, and leaves nothing behind", (_name, demands) => {
    const network = world();
    const client = network.client(HOME);
    expect(() => client.engine.allocate(demands, network.harness.clock)).toThrow(TypeError);
    expect(client.engine.pollOutput()).toBeUndefined();
  });
});

test("SOFTWARE and FINGERPRINT are sent if wanted", () => {
  const network = world();
  const client = network.client(HOME, { software: "a client", fingerprint: true });
  network.finish(client, (engine) => engine.binding(network.harness.clock));
  const [request] = requests(network);
  expect(request && getAttribute(request, software)).toEqual({ ok: true, value: "a client" });
  expect(request?.hasFingerprint).toBe(true);
});

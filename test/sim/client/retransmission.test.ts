import { describe, expect, test } from "vitest";
import { HOME, requests, world } from "../support/client-requests.ts";
import { TCP_LISTENER } from "../support/engine-harness.ts";

describe("retransmission (RFC 8489 §6.2.1)", () => {
  test("seven transmissions, each wait twice the one before, then 16 RTOs: 39.5 seconds", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = () => true;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "timeout", transmissions: 7 } });
    expect(network.sent.map(({ atMs }) => atMs - startMs)).toEqual([0, 500, 1500, 3500, 7500, 15_500, 31_500]);
    expect(network.nowMs - startMs).toBe(39_500);
    expect(new Set(network.sent.map(({ bytes }) => Buffer.from(bytes).toString("hex"))).size).toBe(1);
    expect(client.engine.pollTimeout()).toBeUndefined();
  });

  test("the fourth one arrives: four were sent", () => {
    const network = world();
    const client = network.client(HOME);
    network.drop = ({ from }) => from === "client" && requests(network).length < 4;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "binding", mapped: HOME });
    expect(network.nowMs - startMs).toBe(3510);
    network.advance(100_000);
    expect(requests(network).length).toBe(4);
  });

  test("a lost answer: the same request again, and the same allocation", () => {
    const network = world();
    const client = network.client(HOME, { keepaliveMs: 0 });
    let answers = 0;
    network.drop = ({ from }) => from === "server" && ++answers === 2;
    expect(network.finish(client, (engine) => engine.allocate({}, network.harness.clock)).method).toBe("allocate");
    expect(requests(network).length).toBe(3);
    expect(network.harness.server.allocationCount).toBe(1);
  });

  test("a stream: once, and 39.5 seconds", () => {
    const network = world();
    const client = network.client(HOME, { listener: TCP_LISTENER });
    network.drop = () => true;
    const startMs = network.nowMs;
    const ending = network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(ending).toEqual({ method: "failed", failure: { code: "timeout", transmissions: 1 } });
    expect(network.nowMs - startMs).toBe(39_500);
    expect(network.sent.length).toBe(1);
  });

  test("Rc, Rm, RTO and Ti can be set", () => {
    const network = world();
    const client = network.client(HOME, { initialRtoMs: 100, maxTransmissions: 3, lastWaitRtos: 4 });
    network.drop = () => true;
    const startMs = network.nowMs;
    network.finish(client, (engine) => engine.binding(network.harness.clock));
    expect(network.sent.map(({ atMs }) => atMs - startMs)).toEqual([0, 100, 300]);
    expect(network.nowMs - startMs).toBe(700);
  });
});

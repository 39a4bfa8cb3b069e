/** NAT behaviour discovery (RFC 5780) at the server. */
import {
  attribute,
  changeRequest,
  type EncodedAttribute,
  getAttribute,
  mappedAddress,
  otherAddress,
  padding,
  rawAttribute,
  responseOrigin,
  responsePort,
  type StunMessage,
  transportAddress,
  unknownAttributes,
  withPort,
  xorMappedAddress,
} from "@turnpike/stun";
import type { Listener, NatDiscovery } from "@turnpike/turn";
import { expect, test } from "vitest";
import { EngineHarness, TCP_LISTENER } from "./support/engine-harness.ts";
import { outcomeOf, StunClient, stunOf } from "./support/stun-client.ts";

const CLIENT = transportAddress("198.51.100.7", 40_000);
const addresses = [
  transportAddress("192.0.2.1", 3478),
  transportAddress("192.0.2.1", 3479),
  transportAddress("192.0.2.2", 3478),
  transportAddress("192.0.2.2", 3479),
] as const;
const four = addresses.map((local, i): Listener => ({ id: i + 1, transport: "udp", local }));
const ELSEWHERE: Listener = { ...TCP_LISTENER, id: 5 };
const change = (changeIp: boolean, changePort: boolean): EncodedAttribute =>
  attribute(changeRequest, { changeIp, changePort });

/** A server that offers discovery unless told otherwise; `ask` gives an answer, the listener it leaves by, and where to. */
function discovery(options: { readonly natDiscovery?: NatDiscovery } = { natDiscovery: { listeners: [1, 2, 3, 4] } }) {
  const harness = new EngineHarness({ listeners: [...four, ELSEWHERE], ...options });
  const client = new StunClient({ username: "alice", password: "wonderland" }, harness.random);
  return (attributes: readonly EncodedAttribute[], listener = four[0]!) => {
    harness.fromClient(CLIENT, client.plain("binding", attributes), listener);
    const [sent, ...others] = harness.take();
    if (sent?.kind !== "sendToClient" || others.length > 0) throw new Error("Not one answer");
    return { answer: stunOf(sent.bytes), listener: sent.listener, destination: sent.destination };
  };
}

const unknownOf = (answer: StunMessage): unknown => getAttribute(answer, unknownAttributes);

test("NAT behaviour discovery answers from where it is asked to (RFC 5780 §6.1)", () => {
  const ask = discovery();
  four.forEach(({ id }, place) => {
    const answers = [change(false, false), change(false, true), change(true, false), change(true, true)].map(
      (flags) => {
        const { answer, listener, destination } = ask([flags], four[place]);
        // The other of both, whatever the flags say.
        expect(getAttribute(answer, otherAddress)).toEqual({ ok: true, value: addresses[place ^ 3] });
        expect(getAttribute(answer, mappedAddress)).toEqual(getAttribute(answer, xorMappedAddress));
        expect(getAttribute(answer, responseOrigin)).toEqual({ ok: true, value: addresses[listener - 1] });
        expect(destination).toEqual(CLIENT);
        return listener - 1;
      },
    );
    expect(answers, `at ${id}`).toEqual([place, place ^ 1, place ^ 2, place ^ 3]);
  });
});

test("NAT behaviour discovery: who asks for nothing is told of both addresses too, and answered from where it asked", () => {
  const { answer, listener } = discovery()([], four[2]);
  expect(listener).toBe(3);
  expect(getAttribute(answer, responseOrigin)).toEqual({ ok: true, value: addresses[2] });
  expect(getAttribute(answer, otherAddress)).toEqual({ ok: true, value: addresses[1] });
});

test("NAT behaviour discovery: RESPONSE-PORT has the answer sent there, at the address of who asked (RFC 5780 §6.1)", () => {
  const { answer, destination } = discovery()([attribute(responsePort, 41_000)]);
  expect(destination).toEqual(withPort(CLIENT, 41_000));
  expect(getAttribute(answer, xorMappedAddress)).toEqual({ ok: true, value: CLIENT });
});

test("NAT behaviour discovery: a RESPONSE-PORT that nothing can be sent to gets 400, from where it was asked", () => {
  const ask = discovery();
  const wrong = [attribute(responsePort, 0), rawAttribute(responsePort.type, Uint8Array.of(0x9c, 0x40))];
  for (const port of wrong) {
    const { answer, listener, destination } = ask([port, change(true, true)]);
    expect(outcomeOf(answer)).toBe(400);
    expect([listener, destination]).toEqual([1, CLIENT]);
  }
  expect(outcomeOf(ask([rawAttribute(changeRequest.type, new Uint8Array(3))]).answer)).toBe(400);
});

test("NAT behaviour discovery: PADDING comes back as long as it was, and doesn't go with RESPONSE-PORT (RFC 5780 §6.1)", () => {
  const ask = discovery();
  const filler = (length: number): EncodedAttribute => attribute(padding, new Uint8Array(length));
  expect(getAttribute(ask([filler(1400)]).answer, padding)).toMatchObject({ ok: true, value: { length: 1400 } });
  expect(getAttribute(ask([filler(1401)]).answer, padding)).toMatchObject({ ok: true, value: { length: 1404 } });
  expect(getAttribute(ask([filler(65_460)]).answer, padding)).toMatchObject({ ok: true, value: { length: 1500 } });
  const both = ask([filler(1400), attribute(responsePort, 9)]);
  expect(outcomeOf(both.answer)).toBe(400);
  expect(both.destination).toEqual(CLIENT);
});

test("NAT behaviour discovery: where there is no other address, its attributes get 420 and none is named", () => {
  const wanted = [change(true, false), attribute(responsePort, 41_000), attribute(padding, new Uint8Array(64))];
  const elsewhere = [
    { ask: discovery(), listener: ELSEWHERE },
    { ask: discovery({}), listener: four[0]! },
  ];
  for (const { ask, listener } of elsewhere) {
    for (const each of wanted) {
      const { answer, destination } = ask([each], listener);
      expect(outcomeOf(answer)).toBe(420);
      expect(unknownOf(answer)).toEqual({ ok: true, value: [each.type] });
      expect(destination).toEqual(CLIENT);
    }
    const unknown = rawAttribute(0x7777, new Uint8Array(0));
    const together = ask([change(true, true), unknown], listener).answer;
    expect(unknownOf(together)).toEqual({ ok: true, value: [changeRequest.type, unknown.type] });
    const { answer } = ask([], listener);
    expect(outcomeOf(answer)).toBe("success");
    expect(getAttribute(answer, otherAddress)).toBeUndefined();
    expect(getAttribute(answer, responseOrigin)).toBeUndefined();
  }
});

test("NAT behaviour discovery behind a 1:1 NAT names the addresses that it shows (RFC 5780 §6.1)", () => {
  const shown = [
    transportAddress("203.0.113.1", 3478),
    transportAddress("203.0.113.1", 3479),
    transportAddress("203.0.113.2", 3478),
    transportAddress("203.0.113.2", 3479),
  ] as const;
  const ask = discovery({ natDiscovery: { listeners: [1, 2, 3, 4], addresses: shown } });
  const { answer, listener } = ask([change(true, false)], four[1]);
  expect(listener).toBe(4);
  expect(getAttribute(answer, responseOrigin)).toEqual({ ok: true, value: shown[3] });
  expect(getAttribute(answer, otherAddress)).toEqual({ ok: true, value: shown[2] });
});

import {
  additionalAddressFamily,
  attribute,
  channelDataNumber,
  channelNumber,
  data,
  encodeChannelData,
  evenPort,
  formatIpAddress,
  getAttribute,
  getAttributes,
  lifetime,
  requestedAddressFamily,
  requestedTransport,
  reservationToken,
  transportAddress,
  xorPeerAddress,
  xorRelayedAddress,
  type EncodedAttribute,
  type StunMessage,
  type TransportAddress,
} from "@turnpike/stun";
import fc from "fast-check";
import { EngineHarness, type Forwarded } from "../support/engine-harness.ts";
import { outcomeOf, StunClient, stunOf } from "../support/stun-client.ts";
import { RelayModel, type ModelForward, type ModelPeer, type ModelRequest } from "./relay-model.ts";

const CLIENTS = ["a", "b", "c"] as const;
type ClientName = (typeof CLIENTS)[number];
const PASSWORDS: Readonly<Record<string, string>> = { alice: "wonderland", bob: "builder" };
const ADDRESSES: Readonly<Record<ClientName, TransportAddress>> = {
  a: transportAddress("198.51.100.7", 40_000),
  b: transportAddress("198.51.100.7", 40_001),
  c: transportAddress("203.0.113.9", 40_000),
};

/** Peers by name; `relayed-X` is whatever port client X was given last. */
const PEERS = ["p1", "p1-other-port", "p2", "p6", "private", "relayed-a", "relayed-b", "relay-ssh"] as const;
type PeerName = (typeof PEERS)[number];

/** Few choices are made more likely than others, so that plays meet the same peer and channel again. */
const peer = fc.oneof(
  { weight: 4, arbitrary: fc.constant("p1" as const) },
  { weight: 4, arbitrary: fc.constantFrom(...PEERS) },
);
const client = fc.oneof(
  { weight: 3, arbitrary: fc.constant("a" as const) },
  { weight: 3, arbitrary: fc.constantFrom(...CLIENTS) },
);
const credentials = fc.record({
  user: fc.oneof(
    { weight: 9, arbitrary: fc.constant("own") },
    { weight: 1, arbitrary: fc.constantFrom("alice", "bob") },
  ),
  passwordIsRight: fc.oneof({ weight: 14, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
});
const sometimes = fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) });
const lifetimes = fc.constantFrom(undefined, 3600, 3600, 0, 1, 600, 601, 1200, 3600, 100_000);
const bindable = fc.constantFrom(0x4000, 0x4000, 0x4001, 0x7fff);
const number = fc.oneof({ weight: 9, arbitrary: bindable }, { weight: 1, arbitrary: fc.constantFrom(0x3fff, 0x8000) });

const request = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      method: fc.constant("allocate" as const),
      family: fc.constantFrom(4 as const, 4 as const, 6 as const, "both" as const),
      port: fc.constantFrom("any" as const, "any" as const, "even" as const, "pair" as const, "reserved" as const),
      lifetime: lifetimes,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      method: fc.constant("refresh" as const),
      lifetime: lifetimes,
      family: fc.constantFrom(undefined, undefined, 4 as const, 6 as const),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ method: fc.constant("createPermission" as const), peers: fc.array(peer, { maxLength: 3 }) }),
  },
  { weight: 3, arbitrary: fc.record({ method: fc.constant("channelBind" as const), number, peer }) },
);

/** One step of a play. */
export const action = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("request" as const),
      client,
      credentials,
      request,
      lost: sometimes,
      challengedFirst: fc.constantFrom(true, true, true, true, false),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("retransmit" as const), client }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("send" as const), client, peer }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("channelData" as const), client, number: bindable }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("fromPeer" as const),
      client,
      peer,
      family: fc.constantFrom(4 as const, 6 as const),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      seconds: fc.constantFrom(1, 39, 40, 60, 150, 200, 299, 300, 301, 599, 600, 3600),
    }),
  },
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

/** Plays actions against the engine and the model side by side. Throws where they differ. */
export class Play {
  readonly #harness: EngineHarness;
  readonly #model = new RelayModel();
  readonly #clients = new Map<ClientName, { nonce: string; nonceAt: number | undefined; realm: string }>();
  readonly #last = new Map<ClientName, { request: ModelRequest; bytes: Uint8Array }>();
  readonly #relayedPort = new Map<ClientName, number>();
  readonly #tokens: { handle: number; token: Uint8Array }[] = [];
  readonly #living = new Set<string>();
  #transaction = 0;

  constructor(harness: EngineHarness = new EngineHarness({ unauthenticatedBytesPerSecond: 1e9 })) {
    this.#harness = harness;
  }

  run(actions: readonly Action[]): void {
    for (const step of actions) this.#step(step);
    this.#harness.server.shutdown(this.#harness.clock);
    this.#harness.drain();
    this.#observeEvents();
    equal("living things after shutdown", [...this.#living], []);
    equal("timers after shutdown", this.#harness.server.allocationCount, 0);
    equal("sockets after shutdown", this.#harness.sockets.size, 0);
  }

  #step(step: Action): void {
    switch (step.kind) {
      case "request":
        this.#request(step);
        break;
      case "retransmit": {
        const last = this.#last.get(step.client);
        if (last !== undefined) this.#deliver(step.client, last.request, last.bytes);
        break;
      }
      case "send":
        this.#send(step.client, step.peer);
        break;
      case "channelData": {
        const bytes = encodeChannelData(step.number, PAYLOAD, { padded: false });
        const forwarded = this.#harness.fromClient(ADDRESSES[step.client], bytes);
        this.#compareForward("ChannelData", this.#model.channelData(step.client, step.number), forwarded);
        break;
      }
      case "fromPeer":
        this.#fromPeer(step.client, step.peer, step.family);
        break;
      case "advance":
        this.#model.advance(step.seconds);
        this.#harness.advance(step.seconds * 1000);
        this.#observeEvents();
        break;
    }
    equal("allocations", this.#harness.server.allocationCount, this.#model.allocations.length);
  }

  #request(step: Action & { kind: "request" }): void {
    const state = this.#clients.get(step.client);
    if (state?.nonceAt === undefined ? step.challengedFirst : this.#model.now - state.nonceAt >= 500) {
      this.#challenge(step.client);
    }
    const user = step.credentials.user === "own" ? (step.client === "c" ? "bob" : "alice") : step.credentials.user;
    const base = {
      client: step.client,
      transaction: ++this.#transaction,
      user,
      passwordIsRight: step.credentials.passwordIsRight,
      nonceAt: this.#clients.get(step.client)?.nonceAt,
    };
    const { request, attributes } = this.#encode(base, step.request);
    const stun = this.#stunClient(step.client, user, step.credentials.passwordIsRight);
    const bytes =
      base.nonceAt === undefined ? stun.plain(request.method, attributes) : stun.signed(request.method, attributes);
    this.#last.set(step.client, { request, bytes });
    if (!step.lost) this.#deliver(step.client, request, bytes);
  }

  #encode(
    base: Omit<ModelRequest, "method"> & { readonly user: string },
    wanted: (Action & { kind: "request" })["request"],
  ): { request: ModelRequest; attributes: EncodedAttribute[] } {
    switch (wanted.method) {
      case "allocate": {
        const attributes = [attribute(requestedTransport, 17)];
        const newest = this.#tokens.at(-1);
        if (wanted.lifetime !== undefined) attributes.push(attribute(lifetime, wanted.lifetime));
        if (wanted.port === "reserved") {
          attributes.push(attribute(reservationToken, newest?.token ?? new Uint8Array(8)));
        } else {
          if (wanted.port !== "any") attributes.push(attribute(evenPort, wanted.port === "pair"));
          if (wanted.family === 6) attributes.push(attribute(requestedAddressFamily, 6));
          if (wanted.family === "both") attributes.push(attribute(additionalAddressFamily, 6));
        }
        const reservation = wanted.port === "reserved" ? newest?.handle : undefined;
        return { request: { ...base, ...wanted, reservation } as ModelRequest, attributes };
      }
      case "refresh": {
        const attributes: EncodedAttribute[] = [];
        if (wanted.lifetime !== undefined) attributes.push(attribute(lifetime, wanted.lifetime));
        if (wanted.family !== undefined) attributes.push(attribute(requestedAddressFamily, wanted.family));
        return { request: { ...base, ...wanted } as ModelRequest, attributes };
      }
      case "createPermission": {
        const peers = wanted.peers.map((name) => this.#peer(name));
        const attributes = peers.map((one) => attribute(xorPeerAddress, one.address));
        return {
          request: { ...base, method: "createPermission", peers: peers.map(({ model }) => model) } as ModelRequest,
          attributes,
        };
      }
      case "channelBind": {
        const { address, model } = this.#peer(wanted.peer);
        return {
          request: { ...base, method: "channelBind", number: wanted.number, peer: model } as ModelRequest,
          attributes: [attribute(channelNumber, wanted.number), attribute(xorPeerAddress, address)],
        };
      }
    }
  }

  #deliver(name: ClientName, request: ModelRequest, bytes: Uint8Array): void {
    const forwarded = this.#harness.fromClient(ADDRESSES[name], bytes);
    equal("a request forwards nothing", forwarded, undefined);
    const answer = this.#answer();
    const relayed = getAttributes(answer, xorRelayedAddress).map((one) => (one.ok ? one.value.port : -1));
    const expected = this.#model.request(request, { nextPorts: () => relayed });
    equal(`answer to ${request.method}`, outcomeOf(answer), expected);
    if (expected === 401 || expected === 438) this.#learn(name, answer);
    if (request.method === "allocate" && expected === "success") this.#allocated(name, request, answer, relayed);
  }

  #allocated(
    name: ClientName,
    request: ModelRequest & { method: "allocate" },
    answer: StunMessage,
    relayed: readonly number[],
  ): void {
    const allocation = this.#model.allocationOf(name);
    const left = getAttribute(answer, lifetime);
    equal(
      "LIFETIME",
      left?.ok && left.value,
      Math.min(...(allocation?.relayed ?? []).map(({ ends }) => ends)) - this.#model.now,
    );
    equal(
      "relayed ports",
      relayed,
      allocation?.relayed.map(({ port }) => port),
    );
    this.#relayedPort.set(name, relayed[0]!);
    if (request.port === "even" || request.port === "pair") equal("an even port", relayed[0]! % 2, 0);
    const token = getAttribute(answer, reservationToken);
    equal("RESERVATION-TOKEN", token !== undefined, allocation?.reserved);
    if (!token?.ok || this.#tokens.some((known) => sameBytes(known.token, token.value))) return;
    const handle = new DataView(token.value.buffer, token.value.byteOffset).getUint32(0);
    this.#tokens.push({ handle, token: token.value.slice() });
    const { port, family } = this.#harness.reservations.get(handle)?.relayed ?? { port: -1, family: 4 };
    equal("the reserved port is the next one", port, relayed[0]! + 1);
    this.#model.reservations.push({ handle, user: request.user, family, port, ends: this.#model.now + 40 });
  }

  #send(name: ClientName, peerName: PeerName): void {
    const { address, model } = this.#peer(peerName);
    const stun = this.#stunClient(name, "alice", true);
    const bytes = stun.indication("send", [attribute(xorPeerAddress, address), attribute(data, PAYLOAD)]);
    const forwarded = this.#harness.fromClient(ADDRESSES[name], bytes);
    this.#compareForward("Send", this.#model.send(name, model), forwarded);
    if (forwarded !== undefined) equal("destination", text(forwarded.destination), text(address));
  }

  #fromPeer(name: ClientName, peerName: PeerName, family: 4 | 6): void {
    const { address, model } = this.#peer(peerName);
    const allocation = this.#model.allocationOf(name);
    const port = allocation?.relayed.find((one) => one.family === family)?.port;
    const socket = [...this.#harness.sockets.values()].find(({ relayed }) => relayed.port === port);
    if (socket === undefined || model.family !== family) return;
    const forwarded = this.#harness.fromPeer(socket.socket, address, PAYLOAD);
    this.#compareForward("peer data", this.#model.fromPeer(name, model), forwarded);
    if (forwarded !== undefined) equal("client", text(forwarded.destination), text(ADDRESSES[name]));
  }

  #compareForward(what: string, expected: ModelForward, actual: Forwarded | undefined): void {
    equal(
      `${what} forwarded`,
      actual?.verdict,
      expected === undefined ? undefined : expected.to === "peer" ? "toPeer" : "toClient",
    );
    if (actual === undefined || expected === undefined) return;
    if (expected.to === "peer") {
      equal(`${what}: relay socket`, this.#harness.sockets.get(actual.socket)?.relayed.port, expected.relayedPort);
      equal(`${what}: bytes`, [...actual.bytes], [...PAYLOAD]);
      return;
    }
    if (expected.by === "data") {
      const carried = getAttribute(stunOf(actual.bytes), data);
      equal(`${what}: Data`, carried?.ok && [...carried.value], [...PAYLOAD]);
    } else {
      equal(`${what}: channel`, channelDataNumber(actual.bytes, 0), expected.by);
      equal(`${what}: bytes`, [...actual.bytes.subarray(4)], [...PAYLOAD]);
    }
  }

  #challenge(name: ClientName): void {
    this.#harness.fromClient(ADDRESSES[name], this.#stunClient(name, "alice", true).plain("refresh"));
    this.#learn(name, this.#answer());
  }

  #learn(name: ClientName, answer: StunMessage): void {
    const stun = this.#stunClient(name, "alice", true);
    stun.learn(answer);
    this.#clients.set(name, { nonce: stun.nonce, realm: stun.realm, nonceAt: this.#model.now });
  }

  #stunClient(name: ClientName, user: string, passwordIsRight: boolean): StunClient {
    const stun = new StunClient(
      { username: user, password: passwordIsRight ? PASSWORDS[user]! : "wrong" },
      this.#harness.random,
    );
    const state = this.#clients.get(name);
    stun.nonce = state?.nonce ?? "";
    stun.realm = state?.realm ?? "";
    return stun;
  }

  #peer(name: PeerName): { address: TransportAddress; model: ModelPeer } {
    const fixed: Partial<Record<PeerName, readonly [string, number, ModelPeer["policy"]]>> = {
      p1: ["8.8.8.8", 5000, "global"],
      "p1-other-port": ["8.8.8.8", 5001, "global"],
      p2: ["1.1.1.1", 5000, "global"],
      p6: ["2606:4700::1", 5000, "global"],
      private: ["10.0.0.1", 5000, "special"],
      "relay-ssh": ["192.0.2.1", 22, "own"],
    };
    const [ip, port, policy] = fixed[name] ?? [
      "192.0.2.1",
      this.#relayedPort.get(name === "relayed-a" ? "a" : "b") ?? 9,
      "own" as const,
    ];
    const address = transportAddress(ip, port);
    return { address, model: { family: address.family, ip, port, policy } };
  }

  /** The only answer, with the events around it looked at. */
  #answer(): StunMessage {
    const sent: Uint8Array[] = [];
    this.#observeEvents((bytes) => sent.push(bytes));
    equal("number of answers", sent.length, 1);
    return stunOf(sent[0]!);
  }

  /** Things are created once, refreshed and deleted only while they live, and none outlives its allocation. */
  #observeEvents(onSent: (bytes: Uint8Array) => void = () => undefined): void {
    for (const output of this.#harness.take()) {
      if (output.kind === "sendToClient") onSent(output.bytes);
      if (output.kind !== "event" || !("context" in output.event)) continue;
      const { event } = output;
      const what = event.type.replace(/(?:Created|Refreshed|Deleted)$/, "");
      const detail = "channel" in event ? event.channel : "peer" in event ? formatIpAddress(event.peer) : "";
      const name = `${event.context.allocationId} ${what} ${detail}`;
      if (event.type.endsWith("Created")) {
        equal(`${name} was created once`, this.#living.has(name), false);
        this.#living.add(name);
      } else {
        equal(`${name} lives`, this.#living.has(name), true);
        if (event.type.endsWith("Deleted")) this.#living.delete(name);
      }
    }
  }
}

const PAYLOAD = Uint8Array.of(7, 7, 7);

function text(address: TransportAddress): string {
  return `${formatIpAddress(address)} ${address.port}`;
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => byte === b[i]);
}

function equal(what: string, actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) === JSON.stringify(expected)) return;
  throw new Error(`${what}: the engine says ${JSON.stringify(actual)}, the model ${JSON.stringify(expected)}`);
}

import { attribute, channelNumber, requestedTransport, transportAddress, xorPeerAddress } from "@turnpike/stun";
import type { LifecycleEvent } from "@turnpike/turn";
import { EngineHarness, TCP_LISTENER, UDP_LISTENER } from "./engine-harness.ts";
import { StunClient } from "./stun-client.ts";

export const CLIENT = transportAddress("198.51.100.7", 40_000);
export const AWAY = transportAddress("203.0.113.9", 50_000);
export const PEER = transportAddress("8.8.8.8", 5000);
export const TO_PEER = attribute(xorPeerAddress, PEER);
export const UDP = attribute(requestedTransport, 17);
export const TCP = attribute(requestedTransport, 6);
export const CHANNEL = attribute(channelNumber, 0x4000);

/** One client of an engine, and what it made happen. */
export class Scenario {
  readonly harness: EngineHarness;
  readonly stun: StunClient;
  readonly listener: typeof UDP_LISTENER;

  constructor(
    options: ConstructorParameters<typeof EngineHarness>[0] = {},
    { listener = UDP_LISTENER, username = "alice", password = "wonderland" } = {},
  ) {
    this.harness = new EngineHarness(options);
    this.stun = new StunClient({ username, password }, this.harness.random);
    this.listener = listener;
    this.harness.fromClient(CLIENT, this.stun.plain("allocate", [listener === TCP_LISTENER ? TCP : UDP]), listener);
    this.stun.learn(this.harness.answer());
  }

  send(method: Parameters<StunClient["signed"]>[0], ...attributes: Parameters<StunClient["signed"]>[1] & object): this {
    this.harness.fromClient(CLIENT, this.stun.signed(method, attributes), this.listener);
    return this;
  }

  /** The events since the last look, each in one line. */
  events(): string[] {
    return this.all().map((event) => line(event));
  }

  all(): LifecycleEvent[] {
    return this.harness.take().flatMap((output) => (output.kind === "event" ? [output.event] : []));
  }
}

function line(event: LifecycleEvent): string {
  switch (event.type) {
    case "authSucceeded":
      return `${event.type} ${event.method}`;
    case "authFailed":
      return `${event.type} ${event.method} ${event.reason}`;
    case "allocationRefused":
      return `${event.type} ${event.code}`;
    case "allocationDeleted":
      return `${event.type} ${event.context.allocationId} ${event.reason}`;
    case "channelCreated":
    case "channelRefreshed":
    case "channelDeleted":
      return `${event.type} ${event.channel}`;
    default:
      return event.type;
  }
}

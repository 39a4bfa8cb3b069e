import { type EncodedAttribute, encodeMessage, type StunMessage, transportAddress } from "@turnpike/stun";
import { EngineHarness } from "./engine-harness.ts";
import { type SimClient, SimNetwork } from "./sim-network.ts";
import { stunOf } from "./stun-client.ts";

/** Where the client is. */
export const HOME = transportAddress("198.51.100.7", 40_000);

/** A peer that the policy allows. */
export const PEER = transportAddress("8.8.8.8", 5000);

/** A network with one server. */
export function world(options: ConstructorParameters<typeof EngineHarness>[0] = {}): SimNetwork {
  return new SimNetwork(new EngineHarness(options));
}

/** Requests that the client sent, in order. */
export function requests(network: SimNetwork): StunMessage[] {
  return network.sent.filter(({ from }) => from === "client").map(({ bytes }) => stunOf(bytes));
}

/** Hands a client an answer to the last request that it sent. */
export function answer(
  network: SimNetwork,
  client: SimClient,
  kind: "success" | "error",
  attributes: readonly EncodedAttribute[],
): void {
  const last = requests(network).at(-1)!;
  const bytes = encodeMessage({
    class: kind,
    method: last.methodName!,
    transactionId: last.transactionId,
    attributes,
  });
  network.act(client, (engine) => engine.handlePacket(bytes, 0, bytes.length, network.harness.clock));
}

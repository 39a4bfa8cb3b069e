// Follows channels from outside of the relay, as a faster path does that forwards packets in their place.
import type { Relay } from "@turnpike/relay";
import { formatTransportAddress as text } from "@turnpike/stun";

/** What a faster path looks up: by client and channel one way, by relayed address and peer the other. */
export interface FastPath {
  readonly toPeer: Map<string, string>;
  readonly toClient: Map<string, string>;
}

/** Keeps the tables until the relay stops. A path that missed events has to be emptied: packets take the slow one. */
export async function followChannels(relay: Relay, { toPeer, toClient }: FastPath): Promise<void> {
  const events = relay.events({ types: ["channelCreated", "channelDeleted"], bufferSize: 100_000 });
  for await (const event of events) {
    if (events.dropped > 0) {
      toPeer.clear();
      toClient.clear();
      throw new Error("Channels were missed");
    }
    if (event.type !== "channelCreated" && event.type !== "channelDeleted") continue;
    const { client } = event.context.fiveTuple;
    const forth = `${text(client)} 0x${event.channel.toString(16)}`;
    const back = `${text(event.relayed)} ${text(event.peer)}`;
    if (event.type === "channelCreated") {
      toPeer.set(forth, back);
      toClient.set(back, forth);
    } else {
      toPeer.delete(forth);
      toClient.delete(back);
    }
  }
}

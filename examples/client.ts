/**
 * Two clients that reach each other through a relay on this machine, by datagrams and by a channel.
 * Run it: npx node examples/client.ts
 */
import { allocate } from "@turnpike/client";
import { startRelay } from "@turnpike/relay";
import { formatTransportAddress, longTermKey } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";

const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  peers: { allow: ["127.0.0.1"] },
  authenticate: (request) => {
    const { username = "", realm, passwordAlgorithm: algorithm } = request;
    const key = longTermKey({ algorithm, username, realm, password: "wonderland", crypto: nodeCrypto });
    return username === "alice" && request.checkIntegrity(key)
      ? { kind: "authenticated", username, actor: username, scheme: "static", key }
      : { kind: "failed", reason: "badCredentials" };
  },
});
const [uri = ""] = relay.listening.map(({ local }) => `turn:${formatTransportAddress(local)}?transport=udp`);

{
  await using alice = await allocate(uri, { username: "alice", credential: "wonderland" });
  await using other = await allocate(uri, { username: "alice", credential: "wonderland" });
  await other.permit(alice.relayedAddress);
  alice.send(other.relayedAddress, "hello through the relay");

  for await (const { peer, data } of other) {
    console.log(`received: ${Buffer.from(data).toString()}`);
    console.log(`from the sender's relayed address: ${peer.port === alice.relayedAddress.port}`);
    await other.bindChannel(peer);
    other.send(peer, "and back by a channel");
    break;
  }
  for await (const { data } of alice) {
    console.log(`received: ${Buffer.from(data).toString()}`);
    break;
  }
}

await relay.stop();

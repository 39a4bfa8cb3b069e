// A TURN relay for this machine, with one user. Run it: npx node examples/relay.ts
import { startRelay } from "@turnpike/relay";
import { formatTransportAddress, longTermKey } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";

const passwords = new Map([["alice", "wonderland"]]);

const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  realm: "example.org",
  // Peers on loopback are refused unless they are allowed.
  peers: { allow: ["127.0.0.1"] },
  authenticate: (request) => {
    const { username = "", realm, passwordAlgorithm: algorithm } = request;
    const password = passwords.get(username);
    if (password === undefined) {
      return { kind: "failed", reason: "unknownActor" };
    }
    const key = longTermKey({ algorithm, username, realm, password, crypto: nodeCrypto });
    return request.checkIntegrity(key)
      ? { kind: "authenticated", username, actor: username, scheme: "static", key }
      : { kind: "failed", reason: "badCredentials", actor: username };
  },
  onEvent: (event) => console.log(event.type),
});

for (const { local } of relay.listening) {
  console.log(`turn:${formatTransportAddress(local)}?transport=udp`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void relay.stop());
}

// A TURN relay for this machine, with one user. Run it: npx node examples/relay.ts
import { createTurnAuthenticator, staticUsers } from "@turnpike/authn/turn";
import { startRelay } from "@turnpike/relay";
import { formatTransportAddress } from "@turnpike/stun";

const realm = "example.org";
const authenticator = createTurnAuthenticator({
  realm,
  schemes: [staticUsers({ users: [{ name: "alice", password: "wonderland" }] })],
});

const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  realm,
  // Peers on loopback are refused unless they are allowed.
  peers: { allow: ["127.0.0.1"] },
  authenticate: (request) => authenticator.authenticate(request),
  onEvent: (event) => console.log(event.type),
});

for (const { local } of relay.listening) {
  console.log(`turn:${formatTransportAddress(local)}?transport=udp`);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => void relay.stop());
}

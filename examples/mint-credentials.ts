/** Mints a time-limited credential from a shared secret and prints the `iceServers` of a WebRTC page. */
import { mintTimeLimited, toIceServers, verifyTimeLimited } from "@turnpike/credentials";

const secrets = ["the shared secret of the relay"];
const credential = await mintTimeLimited({ secrets, user: "alice", ttlSeconds: 3600 });
const iceServers = toIceServers({ urls: ["turn:relay.example?transport=udp"], credential });
console.log(JSON.stringify({ iceServers }, null, 2));

const verified = await verifyTimeLimited({ ...credential, secrets });
if (!verified.ok) throw new Error(`The credential does not verify: ${verified.reason}`);

// A relay to be measured: `relay-process.ts PLANE IP PORT [COALESCE_US [CHANNEL_SECONDS [MAX_CHANNELS]]]`, PLANE
// `MODE:INTERFACE` for the kernel plane. Says `ready` when it serves, ends by SIGTERM.
import { loadLibc, startBatchedRelay, startRelay } from "@turnpike/relay";
import { kernelModes } from "./subjects.ts";

const [plane = "batched", ip = "127.0.0.1", port = "3478", ...more] = process.argv.slice(2);
const [coalesceUs = "0", channelSeconds = "600", maxChannels = "16384"] = more;
const [wanted, name] = plane.split(":");
const modes = kernelModes.filter((mode) => mode === wanted);
const user = { username: "u", realm: "r", password: "p" };
const shared = {
  listen: [`udp:${ip}:${port}`],
  relayAddresses: [ip],
  realm: user.realm,
  peers: { allow: ["127.0.0.0/8", "10.0.0.0/8"] },
  // All clients have one address here: each needs a challenge of its own all the same.
  engine: { unauthenticatedBytesPerSecond: 1e9, channelLifetimeSeconds: Number(channelSeconds) },
};
const relay = await (async () => {
  const authenticate = { module: new URL("authenticate.ts", import.meta.url).href, data: () => user };
  if (plane === "portable") return startRelay({ ...shared, authenticate, forwarding: { plane } });
  const libc = loadLibc();
  if ("unavailable" in libc) throw new Error(libc.unavailable);
  return startBatchedRelay({
    ...shared,
    libc,
    threads: 1,
    coalesceUs: Number(coalesceUs),
    aggregate: plane !== "batched-plain",
    ...(name !== undefined && {
      kernel: { interfaces: [name], modes, maxChannels: Number(maxChannels) },
    }),
    authenticate,
    logger: { debug() {}, info() {}, warn: console.error, error: console.error },
  });
})();
console.log("ready");
process.once("SIGTERM", () => {
  console.log(JSON.stringify(relay.stats()));
  void relay.stop();
});

// A relay on the kernel plane: `xdp-relay-process.ts INTERFACE MODE IP PORT [MAX_CHANNELS]`, MODE as `--kernel-mode`. Says `ready` when it
// serves; answers SIGUSR2 with a line of JSON: statistics, warnings, and the totals of allocations that have ended.
import { loadLibc, startBatchedRelay } from "@turnpike/relay";

const [name = "", mode = "", ip = "", port = "3478", maxChannels = "1024"] = process.argv.slice(2);
const libc = loadLibc();
if ("unavailable" in libc) throw new Error(libc.unavailable);
const warnings: string[] = [];
const totals = { packetsToPeers: 0, bytesToPeers: 0, packetsFromPeers: 0, bytesFromPeers: 0 };
const relay = await startBatchedRelay({
  libc,
  threads: 1,
  listen: [`udp:${ip}:${port}`],
  relayAddresses: [ip],
  realm: "r",
  peers: { allow: ["10.0.0.0/8"] },
  authenticate: {
    module: new URL("../../../bench/relay/authenticate.ts", import.meta.url).href,
    data: () => ({ username: "u", realm: "r", password: "p" }),
  },
  kernel: {
    interfaces: [name],
    ...((mode === "native" || mode === "tcx" || mode === "generic") && { modes: [mode] }),
    maxChannels: Number(maxChannels),
  },
  logger: {
    debug() {},
    info() {},
    warn: (_fields, message) => warnings.push(message),
    error: (_fields, message) => warnings.push(message),
  },
  onEvent: (event) => {
    if (event.type !== "allocationDeleted") return;
    totals.packetsToPeers += event.totals.packetsToPeers;
    totals.bytesToPeers += event.totals.bytesToPeers;
    totals.packetsFromPeers += event.totals.packetsFromPeers;
    totals.bytesFromPeers += event.totals.bytesFromPeers;
  },
});
process.on("SIGUSR2", () => console.log(JSON.stringify({ ...relay.stats(), warnings, totals })));
process.once("SIGTERM", () => void relay.stop());
console.log("ready");

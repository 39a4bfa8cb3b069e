// A relay to be measured: `relay-process.ts KIND PORT` on 127.0.0.1. Says `ready` when it serves, ends by SIGTERM.
import { subscribe } from "node:diagnostics_channel";
import { openSync, writeSync } from "node:fs";
import { loadLibc, type Logger, RELAY_EVENT_TYPES, silentLogger, startBatchedRelay } from "@turnpike/relay";
import { transportAddress } from "@turnpike/stun";
import { InlineRelay } from "../../test/support/inline-relay.ts";
import type { Kind } from "./relay.ts";

const [kind, port] = process.argv.slice(2);
const found = loadLibc();
if ("unavailable" in found) throw new Error(found.unavailable);
const libc = found;
if (kind === "bare") serveBare();
else await serve(kind === "outlets" || kind === "limits" ? kind : "none");

/** The plane and an engine that can't tell events, without threads, quotas and limits. */
function serveBare(): never {
  const relay = new InlineRelay({ libc, users: { u: "p" }, local: transportAddress("127.0.0.1", Number(port)) });
  console.log("ready");
  for (;;) relay.turn(1000);
}

async function serve(measured: Exclude<Kind, "bare">): Promise<void> {
  const devNull = openSync("/dev/null", "w");
  const logger: Logger = {
    ...silentLogger,
    info: (fields, message) => void writeSync(devNull, `${JSON.stringify({ ...fields, message })}\n`),
  };
  const nothing = (): void => {};
  const user = { username: "u", realm: "r", password: "p" };
  const relay = await startBatchedRelay({
    libc,
    threads: 1,
    listen: [`udp:127.0.0.1:${port}`],
    relayAddresses: ["127.0.0.1"],
    realm: user.realm,
    peers: { allow: ["127.0.0.0/8"] },
    authenticate: { module: new URL("../relay/authenticate.ts", import.meta.url).href, data: () => user },
    // All clients have one address here.
    engine: { unauthenticatedBytesPerSecond: 1e9 },
    ...(measured === "limits" && {
      limits: {
        quotas: { user: 100_000, total: 100_000, addressPrefix: 100_000 },
        allocationRate: { bytesPerSecond: 1e11 },
        userRate: { bytesPerSecond: 1e11, packetsPerSecond: 1e9 },
        totalRate: { bytesPerSecond: 1e11 },
        perSource: { requestsPerSecond: 1e6, challengesPerSecond: 1e6, allocationsPerSecond: 1e6 },
      },
    }),
    ...(measured === "outlets" && {
      logger,
      events: Object.fromEntries(RELAY_EVENT_TYPES.map((type) => [type, nothing])),
      onEvent: nothing,
      eventLog: { linesPerSecond: 1e9 },
      trafficReportSeconds: 1,
    }),
  });
  console.log("ready");
  if (measured !== "outlets") return;
  for (const type of RELAY_EVENT_TYPES) {
    subscribe(`turnpike:${type.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, nothing);
  }
  for await (const event of relay.events({ bufferSize: 100_000 })) void event;
}

/**
 * Memory of a relay for each idle TLS client, and how fast it answers new allocations meanwhile.
 *
 *     npm run bench:tls-clients [CLIENTS]
 *     npm run bench:tls-clients bare [CLIENTS]
 *
 * `bare` measures a server of Node's own instead, which does nothing: what TLS alone takes. Clients run in a process of
 * their own, so that only the server's memory is measured.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:tls";
import { startRelay } from "@turnpike/relay";
import { staticUsers } from "../test/sim/support/authentication.ts";
import { TestCertificate } from "../test/support/certificate.ts";
import { LinkTurnClient } from "../test/support/link-turn-client.ts";
import { transportAddress } from "@turnpike/stun";

const CREDENTIALS = { username: "alice", password: "wonderland" };
const ALLOCATIONS = 200;
const [role, argument, ca] = [process.argv[2] ?? "10000", process.argv[3], process.argv[4]];

if (role === "clients" && process.send !== undefined) await runClients(JSON.parse(argument ?? "{}"), ca ?? "");
else if (role === "bare") await runBare(Number(argument ?? "10000"));
else await runRelay(Number(role));

/** The same handshakes with a server that only reads. */
async function runBare(clients: number): Promise<void> {
  const certificate = new TestCertificate();
  const server = createServer({ cert: certificate.pem, key: await readFile(certificate.key) }, (socket) => {
    socket.on("error", () => {});
    socket.resume();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  const before = process.memoryUsage().rss;
  const child = fork(
    import.meta.filename,
    ["clients", JSON.stringify({ port, clients, bare: true }), certificate.cert],
    {
      execArgv: ["--conditions=@turnpike/source"],
    },
  );
  await once(child, "message");
  console.log(JSON.stringify({ bareRssBytesPerClient: Math.round((process.memoryUsage().rss - before) / clients) }));
  child.kill();
  server.close();
  await certificate[Symbol.asyncDispose]();
}

async function runRelay(clients: number): Promise<void> {
  const certificate = new TestCertificate();
  const relay = await startRelay({
    listen: ["tls:127.0.0.1:0"],
    relayAddresses: ["127.0.0.1"],
    tls: certificate,
    authenticate: staticUsers({ alice: "wonderland" }),
    peers: { allow: ["127.0.0.0/8"] },
    streams: { maxConnectionsPerPrefix: clients + 100, idleTimeoutMs: 600_000, handshakeTimeoutMs: 60_000 },
    engine: { unauthenticatedBytesPerSecond: 1e9 },
  });
  const before = process.memoryUsage().rss;
  const port = relay.listening[0]?.local.port ?? 0;
  const child = fork(import.meta.filename, ["clients", JSON.stringify({ port, clients }), certificate.cert], {
    execArgv: ["--conditions=@turnpike/source"],
  });
  const [connected]: unknown[] = await once(child, "message");
  const after = process.memoryUsage().rss;
  const { connections } = relay.stats().streams;
  child.send("allocate");
  const [latencies]: unknown[] = await once(child, "message");
  console.log(
    JSON.stringify({
      connections,
      connected,
      rssBytesPerClient: Math.round((after - before) / connections),
      latencies,
    }),
  );
  child.kill();
  await relay.stop();
  await certificate[Symbol.asyncDispose]();
}

async function runClients(
  given: { readonly port: number; readonly clients: number; readonly bare?: boolean },
  cert: string,
): Promise<void> {
  const options = {
    transport: "tls",
    server: transportAddress("127.0.0.1", given.port),
    ca: await readFile(cert),
    credentials: CREDENTIALS,
  } as const;
  const started = performance.now();
  const idle: LinkTurnClient[] = [];
  while (idle.length < given.clients) {
    const some = await Promise.all(Array.from({ length: 50 }, () => LinkTurnClient.open(options)));
    for (const client of given.bare === true ? [] : some) await client.exchange(client.stun.plain("binding"));
    idle.push(...some);
  }
  process.send?.({ clients: idle.length, connectMs: Math.round(performance.now() - started) });
  await once(process, "message");
  const allocateMs: number[] = [];
  const wholeMs: number[] = [];
  for (let count = 0; count < ALLOCATIONS; count++) {
    const begun = performance.now();
    const client = await LinkTurnClient.open(options);
    const connected = performance.now();
    await client.allocate();
    allocateMs.push(performance.now() - connected);
    wholeMs.push(performance.now() - begun);
    client.close();
  }
  process.send?.({ allocateMs: percentiles(allocateMs), withHandshakeMs: percentiles(wholeMs) });
}

function percentiles(values: readonly number[]): Readonly<Record<string, number>> {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => Math.round((sorted[Math.floor(share * (sorted.length - 1))] ?? 0) * 100) / 100;
  return { median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

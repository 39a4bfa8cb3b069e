// Whether the time of a refusal tells an unknown user from a wrong password: npm run bench:timing
// With --write the table goes to docs/performance/timing.md too. Penalties are off here: with them each answer is put off
// by a random 4 to 5 s more, the same for both.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import {
  AccessTokens,
  BasicScheme,
  type HttpRequest,
  HttpGate,
  MemoryAccessTokenStore,
  OperationContext,
} from "@turnpike/authn";
import { HtpasswdVerifier } from "@turnpike/authn/htpasswd";
import { httpRequest } from "@turnpike/authn/testing";
import { createTurnAuthenticator, portalStamps, sharedSecrets, staticUsers } from "@turnpike/authn/turn";
import { startRelay } from "@turnpike/relay";
import { attribute, requestedTransport, transportAddress } from "@turnpike/stun";
import { hashSync } from "bcryptjs";
import { REALM, type RequestOptions, turnRequest } from "../../packages/authn/test/turn-request.ts";
import { UdpTurnClient } from "../../test/support/udp-turn-client.ts";
import { compare, type Comparison, measurementsNeeded } from "./statistics.ts";

/** Makes one attempt of the kind, and resolves with how long it took, in milliseconds. */
type Attempt = () => number | Promise<number>;

interface Subject {
  readonly what: string;
  readonly samples: number;
  readonly unknown: Attempt;
  readonly wrong: Attempt;
}

const UDP = attribute(requestedTransport, 17);
// Names of one length: the rest of the packet is the same.
const [ALICE, MABEL] = ["alice", "mabel"];
const STAMP = "1900000000:";

async function measure({
  what,
  samples,
  unknown,
  wrong,
}: Subject): Promise<{ what: string; samples: number } & Comparison> {
  const [unknownMs, wrongMs]: [number[], number[]] = [[], []];
  const warmUp = Math.min(2000, samples / 5);
  for (let round = 0; round < warmUp + samples; round++) {
    // In pairs of random order, so that whatever the machine does to one it does to the other.
    const isUnknownFirst = Math.random() < 0.5;
    const first = await (isUnknownFirst ? unknown : wrong)();
    const second = await (isUnknownFirst ? wrong : unknown)();
    if (round < warmUp) continue;
    unknownMs.push(isUnknownFirst ? first : second);
    wrongMs.push(isUnknownFirst ? second : first);
  }
  return { what, samples, ...compare(unknownMs, wrongMs) };
}

const authenticator = createTurnAuthenticator({
  realm: REALM,
  schemes: [
    portalStamps({ stampSecrets: ["stamp"] }),
    staticUsers({ users: [{ name: ALICE, password: "wonderland" }] }),
    sharedSecrets({ secrets: ["north", "south"] }),
  ],
});

function decision(what: string, options: (name: string) => RequestOptions): Subject {
  const attempt = (name: string): Attempt => {
    const request = turnRequest(options(name));
    return () => {
      const startMs = performance.now();
      authenticator.authenticate(request);
      return performance.now() - startMs;
    };
  };
  return { what, samples: 20_000, unknown: attempt(MABEL), wrong: attempt(ALICE) };
}

function gated(
  what: string,
  gate: HttpGate,
  samples: number,
  [unknown, wrong]: readonly [HttpRequest, HttpRequest],
): Subject {
  const attempt = (request: HttpRequest): Attempt => {
    return async () => {
      const startMs = performance.now();
      await gate.admit(request);
      return performance.now() - startMs;
    };
  };
  return { what, samples, unknown: attempt(unknown), wrong: attempt(wrong) };
}

const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  realm: REALM,
  penalties: false,
  engine: { unauthenticatedBytesPerSecond: Infinity },
  authenticate: (request) => authenticator.authenticate(request),
});

async function onTheWire(name: string): Promise<Attempt> {
  const server = relay.listening[0]?.local ?? transportAddress("127.0.0.1", 3478);
  const client = await UdpTurnClient.open(server, { username: name, password: "looking-glass" });
  client.stun.learn(await client.exchange(client.stun.plain("allocate", [UDP])));
  closers.push(() => client.close());
  return async () => {
    const request = client.stun.signed("allocate", [UDP]);
    const startMs = performance.now();
    client.stun.learn(await client.exchange(request));
    return performance.now() - startMs;
  };
}

const closers: (() => Promise<void>)[] = [];
const folder = mkdtempSync(join(tmpdir(), "turnpike-timing-"));
writeFileSync(join(folder, "htpasswd"), `${ALICE}:${hashSync("wonderland", 6)}\n`);
const htpasswd = new HtpasswdVerifier({ path: join(folder, "htpasswd") });
const basic = new HttpGate({ name: "basic", schemes: [new BasicScheme({ verifier: htpasswd })] });
const tokens = new AccessTokens({ store: new MemoryAccessTokenStore(), prefix: "tp_" });
const bearer = new HttpGate({ name: "bearer", schemes: [tokens] });
const { token } = await tokens.create(OperationContext.internal("timing"), {
  actor: { kind: "user", id: ALICE, roles: [] },
  label: "timing",
});
// What a guesser of tokens hopes for: that a long common beginning shows.
const near = `${token.reveal().slice(0, -1)}${token.reveal().endsWith("A") ? "B" : "A"}`;
const far = `tp_${"z".repeat(near.length - 3)}`;
const authorized = (authorization: string): HttpRequest => httpRequest({ headers: { authorization } });
const byPassword = (name: string): HttpRequest =>
  authorized(`Basic ${Buffer.from(`${name}:looking-glass`).toString("base64")}`);

const subjects: readonly Subject[] = [
  decision("TURN decision, USERNAME", (username) => ({ username, password: "looking-glass" })),
  decision("TURN decision, SHA-256 key", (username) => ({
    username,
    password: "looking-glass",
    passwordAlgorithm: "sha256",
  })),
  decision("TURN decision, USERHASH", (username) => ({ username, password: "looking-glass", anonymous: true })),
  decision("TURN decision, time-limited name", (name) => ({ username: `${STAMP}${name}`, password: "looking-glass" })),
  { what: "TURN 401 over UDP", samples: 5_000, unknown: await onTheWire(MABEL), wrong: await onTheWire(ALICE) },
  gated("HTTP Basic, htpasswd", basic, 4_000, [byPassword(MABEL), byPassword(ALICE)]),
  gated("HTTP access token, none alike or all but one letter", bearer, 10_000, [
    authorized(`Bearer ${far}`),
    authorized(`Bearer ${near}`),
  ]),
];

const rows: Awaited<ReturnType<typeof measure>>[] = [];
for (const subject of subjects) rows.push(await measure(subject));
for (const close of closers) await close();
await relay.stop();
await htpasswd.close();
rmSync(folder, { recursive: true });

const us = (ms: number): string => `${(ms * 1000).toFixed(2)} µs`;
const table = [
  "| refusal | samples | unknown, median | wrong, median | p (Mann–Whitney) | p (Welch) | P(unknown > wrong) | to tell them apart |",
  "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ...rows.map((row) => {
    const needed = Math.ceil(measurementsNeeded(row)).toLocaleString("en");
    const cells = [us(row.medianA), us(row.medianB), row.mannWhitneyP.toFixed(3), row.welchP.toFixed(3)];
    return `| ${[row.what, row.samples.toLocaleString("en"), ...cells, row.superiority.toFixed(4), needed].join(" | ")} |`;
  }),
].join("\n");
console.log(table);

if (process.argv.includes("--write")) {
  const [cpu] = cpus();
  const page = `# What the time of a refusal tells

Made by \`npm run bench:timing -- --write\` on Node ${process.versions.node}, ${cpus().length} × ${cpu?.model ?? "?"}.

An unknown user beside a wrong password of a user who exists: equal in code, text and size, and this is their time.
Measured in pairs of random order within the process or on its loopback, where nothing is between, and without
penalties. P(unknown > wrong) is 0.5 if the time tells nothing. The last column says how many measurements of each kind
tell them apart (5 % of false alarms, 80 % of hits), were the difference as measured; with penalties on, each costs a
guesser 4 to 5 s, and 100 of them within ten minutes his address.

${table}
`;
  writeFileSync(new URL("../../docs/performance/timing.md", import.meta.url), page);
}

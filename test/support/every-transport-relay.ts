import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClientTransport } from "@turnpike/turn";
import { TestAuthority } from "./certificates.ts";
import { startChild, type Child } from "./child.ts";

/** `turnpike relay` on loopback by every transport, each on a port of its own, with the user alice:wonderland. */
export interface EveryTransportRelay extends AsyncDisposable {
  readonly child: Child;
  /** File with the certificate authority to trust, PEM. */
  readonly caFile: string;
  /** File with alice's credential. */
  readonly credentialFile: string;
  uri(transport: ClientTransport): string;
}

export const EVERY_TRANSPORT: readonly ClientTransport[] = ["udp", "tcp", "tls", "dtls", "ws", "wss"];
const START_MS = 30_000;

/** Starts it and waits until it serves. */
export async function startEveryTransportRelay(): Promise<EveryTransportRelay> {
  const authority = new TestAuthority();
  const { key, cert } = authority.issue(["localhost", "127.0.0.1"]);
  const folder = mkdtempSync(join(tmpdir(), "turnpike-relay-"));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const child = startChild({
    command: "turnpike",
    cwd: folder,
    args: [
      "relay",
      "--log-format=json",
      ...EVERY_TRANSPORT.flatMap((transport) => ["--listen", `${transport}:127.0.0.1:0`]),
      "--relay-address=127.0.0.1",
      "--allow-peer=127.0.0.0/8",
      "--user=alice:wonderland",
      `--cert=${write("cert.pem", cert)}`,
      `--key=${write("key.pem", key)}`,
    ],
  });
  await child.waitFor((it) => it.stderr().includes(`"msg":"The relay is serving"`), START_MS);
  const line = child
    .stderr()
    .split("\n")
    .find((each) => each.includes("The relay is serving"));
  const { listening } = JSON.parse(line ?? "{}") as { readonly listening: readonly string[] };
  return {
    child,
    caFile: write("ca.pem", authority.ca),
    credentialFile: write("credential", "wonderland\n"),
    uri: (transport) => {
      const place = listening.find((each) => each.startsWith(`${transport}:`))?.slice(transport.length + 1);
      return uriOf(transport, place ?? "");
    },
    async [Symbol.asyncDispose]() {
      child.signal("SIGTERM");
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The URI of a transport at a host and port. */
export function uriOf(transport: ClientTransport, place: string): string {
  const scheme = transport === "tls" || transport === "dtls" || transport === "wss" ? "turns" : "turn";
  const parameter = { udp: "udp", dtls: "udp", tcp: "tcp", tls: "tcp", ws: "ws", wss: "ws" }[transport];
  return `${scheme}:${place}?transport=${parameter}`;
}

/** The steps that `turnpike check` takes over a transport. */
export function stepsOver(transport: ClientTransport): string[] {
  const relaysTcp = transport === "tcp" || transport === "tls";
  const before = ["connect", "binding", "challenge", "allocate", "permission", "send", "channel", "data"];
  return [...before, ...(relaysTcp ? ["tcp relay"] : []), "refresh", "close"];
}

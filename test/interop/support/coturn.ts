import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestAuthority } from "../../support/certificates.ts";
import { startChild } from "../../support/child.ts";
import { freeUdpPort } from "../../support/turn-server.ts";

/** Debian's coturn on loopback, by UDP and TCP on one port and by TLS and DTLS on another. */
export interface Coturn extends AsyncDisposable {
  readonly port: number;
  readonly tlsPort: number;
  /** The certificate authority to trust, PEM. */
  readonly ca: string;
  output(): string;
}

/** Starts coturn with the user alice:wonderland, or open to anybody, and waits until it listens. */
export async function startStreamCoturn(
  options: { readonly anybody?: boolean; readonly alternateServer?: string } = {},
): Promise<Coturn> {
  const authority = new TestAuthority();
  const { key, cert } = authority.issue(["localhost", "127.0.0.1"]);
  const folder = mkdtempSync(join(tmpdir(), "turnpike-coturn-"));
  writeFileSync(join(folder, "cert.pem"), cert);
  writeFileSync(join(folder, "key.pem"), key);
  const port = await freeUdpPort(["127.0.0.1"]);
  const tlsPort = await freeUdpPort(["127.0.0.1"]);
  const child = startChild({
    command: "turnserver",
    cwd: folder,
    args: [
      "-n",
      "--listening-ip=127.0.0.1",
      "--relay-ip=127.0.0.1",
      `--listening-port=${port}`,
      `--tls-listening-port=${tlsPort}`,
      `--cert=${join(folder, "cert.pem")}`,
      `--pkey=${join(folder, "key.pem")}`,
      "--realm=coturn.test",
      ...(options.anybody === true ? ["--no-auth"] : ["--lt-cred-mech", "--user=alice:wonderland"]),
      ...(options.alternateServer === undefined ? [] : [`--alternate-server=${options.alternateServer}`]),
      "--allow-loopback-peers",
      "--mobility",
      "--no-cli",
      "--no-rfc5780",
      "--log-file=stdout",
      "--simple-log",
      `--pidfile=${folder}/pid`,
      `--userdb=${folder}/db`,
    ],
  });
  await child.waitFor((it) => it.output().includes("(admin thread)"), 30_000);
  return {
    port,
    tlsPort,
    ca: authority.ca,
    output: () => child.output(),
    async [Symbol.asyncDispose]() {
      await child.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

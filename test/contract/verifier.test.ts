import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CachedVerifier, CredentialCache, type CredentialVerifier, OperationContext } from "@turnpike/authn";
import { HtpasswdVerifier } from "@turnpike/authn/htpasswd";
import { HttpVerifier } from "@turnpike/authn/http-verifier";
import { hash } from "bcryptjs";
import { USERS, verifierContract, type VerifierUnderTest } from "./support/verifier-contract.ts";

const ctx = OperationContext.internal("test");

async function htpasswd(): Promise<VerifierUnderTest> {
  const directory = await mkdtemp(join(tmpdir(), "turnpike-htpasswd-"));
  const path = join(directory, "htpasswd");
  const lines = await Promise.all(
    Object.entries(USERS).map(async ([username, password]) => `${username}:${await hash(password, 4)}`),
  );
  await writeFile(path, `# users\n${lines.join("\n")}\n`);
  const another = (): HtpasswdVerifier => new HtpasswdVerifier({ path, checkEveryMs: 0 });
  return {
    verifier: another(),
    another,
    stop: () => rename(path, `${path}.away`),
    start: () => rename(`${path}.away`, path),
    remove: () => rm(directory, { recursive: true }),
  };
}

async function http(): Promise<VerifierUnderTest> {
  let server: Server | undefined;
  let port = 0;
  const start = async (): Promise<void> => {
    server = createServer((request, response) => {
      void readJson(request).then(({ username, password }) => {
        const right = Object.hasOwn(USERS, username) ? USERS[username] : undefined;
        const [status, body] =
          right === undefined
            ? [401, { reason: "unknownUser" }]
            : right === password
              ? [200, { subject: `id-${username}`, roles: ["b", "a", "b"] }]
              : [401, { reason: "badCredentials" }];
        response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
      });
    }).listen(port, "127.0.0.1");
    await new Promise((resolve) => server?.once("listening", resolve));
    const address = server.address();
    if (typeof address === "object" && address !== null) port = address.port;
  };
  const stop = async (): Promise<void> => {
    server?.closeAllConnections();
    await new Promise((resolve) => server?.close(resolve));
  };
  await start();
  const another = (): HttpVerifier => new HttpVerifier({ url: `http://127.0.0.1:${port}/verify` });
  return { verifier: another(), another, start, stop, remove: stop };
}

async function cached(setUp: () => Promise<VerifierUnderTest>): Promise<VerifierUnderTest> {
  const slow = await setUp();
  const cache = new CredentialCache({ enabled: true });
  const wrap = (verifier: CredentialVerifier): CachedVerifier => new CachedVerifier({ verifier, cache });
  return {
    ...slow,
    verifier: wrap(slow.verifier),
    another: () => wrap(slow.another()),
    forget: async () => void (await cache.flush(ctx)),
  };
}

async function readJson(request: IncomingMessage): Promise<{ username: string; password: string }> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return JSON.parse(Buffer.concat(chunks).toString("utf8"));
}

verifierContract("htpasswd", htpasswd);
verifierContract("http", http);
verifierContract("cached htpasswd", () => cached(htpasswd));
verifierContract("cached http", () => cached(http));

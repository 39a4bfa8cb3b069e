import { readFileSync } from "node:fs";
import { createServer, request as httpsRequest, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import type { SchemeResult } from "../core/scheme.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { fromNodeRequest } from "./adapters.ts";
import { ClientCertificateScheme } from "./client-certificate.ts";
import type { ClientCertificate, HttpRequest } from "./request.ts";

const ctx = OperationContext.internal("test");
const pem = (name: string): Buffer => readFileSync(new URL(`../../test/fixtures/${name}.pem`, import.meta.url));
const scheme = new ClientCertificateScheme({
  actorOf: (_ctx, { alternativeNames }) =>
    alternativeNames.includes("URI:spiffe://example.org/relay-1") ? { kind: "relay", id: "relay-1" } : undefined,
});

describe("by a real handshake", () => {
  let server: Server;
  let seen: HttpRequest | undefined;
  let result: SchemeResult | undefined;

  beforeAll(async () => {
    server = createServer(
      { key: pem("server-key"), cert: pem("server"), ca: pem("ca"), requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        seen = fromNodeRequest(request);
        void scheme.authenticate(ctx, seen).then((decided) => {
          result = decided;
          response.end();
        });
      },
    );
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });

  afterAll(() => new Promise((resolve) => server.close(resolve)));

  async function connect(certificate: { key?: Buffer; cert?: Buffer }): Promise<SchemeResult | undefined> {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address is no string
    const { port } = server.address() as AddressInfo;
    await new Promise<void>((resolve, reject) => {
      httpsRequest(
        { port, host: "127.0.0.1", path: "/x?y", ca: pem("ca"), agent: false, ...certificate },
        (response) => {
          response.resume();
          response.once("end", resolve);
        },
      )
        .once("error", reject)
        .end();
    });
    return result;
  }

  test("a certificate of our authority names its actor", async () => {
    expect(await connect({ key: pem("client-key"), cert: pem("client") })).toMatchObject({
      kind: "authenticated",
      actor: { kind: "relay", id: "relay-1" },
      details: { credentialId: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
    });
    expect(seen).toMatchObject({
      method: "GET",
      protocol: "https",
      target: "/x?y",
      remoteAddress: "127.0.0.1",
      clientCertificate: {
        commonName: "relay-1",
        alternativeNames: ["URI:spiffe://example.org/relay-1", "DNS:relay-1.example.org"],
      },
    });
  });

  test("a stranger's certificate of the same name is refused", async () => {
    expect(await connect({ key: pem("stranger-key"), cert: pem("stranger") })).toMatchObject({
      kind: "failed",
      reason: { kind: "badCredentials", attemptedActor: "relay-1", note: expect.stringContaining("SELF_SIGNED") },
    });
  });

  test("a stranger's names are nothing to go by", async () => {
    await connect({ key: pem("stranger-key"), cert: pem("stranger") });
    expect(seen?.clientCertificate).toMatchObject({ authorized: false, commonName: "relay-1", alternativeNames: [] });
  });

  test("without a certificate the scheme isn't asked", async () => {
    expect(await connect({})).toEqual({ kind: "notRequested" });
    expect(seen).not.toHaveProperty("clientCertificate");
  });
});

test("a certificate that nobody has is unknown, and one that ended while connected has expired", async () => {
  const clock = new ManualClock();
  const certificate: ClientCertificate = {
    authorized: true,
    fingerprintSha256: "00",
    alternativeNames: [],
    validToUnixMs: clock.unixMs() + 1_000,
  };
  const nobodys = new ClientCertificateScheme({ clock, actorOf: () => undefined });
  const request = httpRequest({ clientCertificate: certificate });
  expect(await nobodys.authenticate(ctx, request)).toMatchObject({ reason: { kind: "unknownActor" } });
  clock.advance(1_000);
  expect(await nobodys.authenticate(ctx, request)).toMatchObject({ reason: { kind: "expired" } });
});

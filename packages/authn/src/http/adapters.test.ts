import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connect } from "node:net";
import { fastify } from "fastify";
import { describe, expect, test } from "vitest";
import { alternativeNamesOf, fromFastifyRequest, fromNodeRequest } from "./adapters.ts";
import { authorizationCredentials, headerValue, type HttpRequest, pathOf } from "./request.ts";

/** What a raw request looks like on the other side. */
async function receive(raw: string): Promise<HttpRequest> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const received = new Promise<HttpRequest>((resolve) => {
    server.on("request", (request, response) => {
      resolve(fromNodeRequest(request));
      response.end();
    });
  });
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a TCP server's address is no string
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
  socket.end(raw);
  const request = await received;
  socket.destroy();
  server.closeAllConnections();
  server.close();
  return request;
}

describe("fromNodeRequest", () => {
  test("takes method, target, authority, address and fields over", async () => {
    const raw = "GET /a%20b?c=d HTTP/1.1\r\nHost: Portal.Example.Org:80\r\nX-List: a\r\nX-List: b\r\n\r\n";
    const request = await receive(raw);
    expect(request).toMatchObject({
      method: "GET",
      protocol: "http",
      authority: "portal.example.org",
      target: "/a%20b?c=d",
      remoteAddress: "127.0.0.1",
    });
    expect(pathOf(request)).toBe("/a%20b");
    expect(headerValue(request, "x-list")).toBe("a, b");
    expect(request).not.toHaveProperty("clientCertificate");
  });

  test("believes no forwarding field", async () => {
    const raw =
      "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nForwarded: for=::1\r\n\r\n";
    expect(await receive(raw)).toMatchObject({ protocol: "http", remoteAddress: "127.0.0.1", authority: "a" });
  });

  test("of two Authorization fields the first counts, and only one", async () => {
    const request = await receive(
      "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eA==\r\nAuthorization: Bearer y\r\n\r\n",
    );
    expect(authorizationCredentials(request, "basic")).toBe("eA==");
    expect(authorizationCredentials(request, "bearer")).toBeUndefined();
  });

  test("an absolute target is kept as it was sent", async () => {
    const request = await receive("GET http://evil.example/x HTTP/1.1\r\nHost: a\r\n\r\n");
    expect(request).toMatchObject({ target: "http://evil.example/x", authority: "a" });
  });
});

describe("fromFastifyRequest", () => {
  test.each([
    [false, { remoteAddress: "127.0.0.1", protocol: "http", authority: "inner" }],
    [true, { remoteAddress: "203.0.113.7", protocol: "https", authority: "outer.example.org" }],
  ])("follows trustProxy: %s", async (trustProxy, expected) => {
    const app = fastify({ trustProxy });
    let seen: HttpRequest | undefined;
    app.post("/x", (request, reply) => {
      seen = fromFastifyRequest(request, { body: Buffer.from("{}") });
      return reply.send("");
    });
    await app.inject({
      method: "POST",
      url: "/x?y",
      headers: {
        host: "inner",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-proto": "https",
        "x-forwarded-host": "outer.example.org:443",
      },
    });
    expect(seen).toMatchObject({ ...expected, method: "POST", target: "/x?y", body: Buffer.from("{}") });
    await app.close();
  });
});

describe("names of a certificate", () => {
  test.each([
    ["", []],
    ["DNS:a.example, IP Address:192.0.2.1, DNS:c", ["DNS:a.example", "IP Address:192.0.2.1", "DNS:c"]],
    ["URI:spiffe://example.org/a, DNS:b", ["URI:spiffe://example.org/a", "DNS:b"]],
    [String.raw`URI:"http://example.org/a, DNS:evil", DNS:b`, ["URI:http://example.org/a, DNS:evil", "DNS:b"]],
    [String.raw`DNS:"a\"b", DNS:c`, ['DNS:a"b', "DNS:c"]],
    [String.raw`DNS:"\q"`, [String.raw`DNS:"\q"`]],
    ["no names at all", []],
  ])("%j are %j", (text, names) => {
    expect(alternativeNamesOf(text)).toEqual(names);
  });
});

import type { IncomingMessage } from "node:http";
import { TLSSocket } from "node:tls";
import type { ClientCertificate, HttpRequest } from "./request.ts";

/** What an adapter may be told. */
export interface AdapterOptions {
  /** The bytes of the body, if they were read before authentication. */
  readonly body?: Uint8Array;
}

/**
 * A request of `node:http`, `node:https` or `node:http2`'s compatibility API. Forwarding fields of proxies are not
 * believed: behind a proxy, overwrite `remoteAddress` and `protocol` with what you trust.
 */
export function fromNodeRequest(request: IncomingMessage, options: AdapterOptions = {}): HttpRequest {
  const encrypted = request.socket instanceof TLSSocket;
  return build(request, {
    protocol: encrypted ? "https" : "http",
    host: request.headers.host ?? pseudoHeader(request, ":authority"),
    remoteAddress: request.socket.remoteAddress ?? "",
    ...options,
  });
}

/** The part of a Fastify request that authentication needs; a Fastify request fits as it is. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage;
  /** The client's address, as Fastify's `trustProxy` makes it out. */
  readonly ip: string;
  readonly protocol: "http" | "https";
  readonly host: string;
}

/** A request of Fastify 5: address, protocol and host follow its `trustProxy`. */
export function fromFastifyRequest(request: FastifyRequestLike, options: AdapterOptions = {}): HttpRequest {
  return build(request.raw, {
    protocol: request.protocol,
    host: request.host,
    remoteAddress: request.ip,
    ...options,
  });
}

interface Origin extends AdapterOptions {
  readonly protocol: "http" | "https";
  readonly host: string | undefined;
  readonly remoteAddress: string;
}

function build(request: IncomingMessage, origin: Origin): HttpRequest {
  const clientCertificate = certificateOf(request);
  return {
    method: (request.method ?? "GET").toUpperCase(),
    protocol: origin.protocol,
    authority: authorityOf(origin.host ?? "", origin.protocol),
    target: request.url ?? "/",
    headers: request.headers,
    remoteAddress: origin.remoteAddress,
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
    ...(origin.body === undefined ? {} : { body: origin.body }),
  };
}

function pseudoHeader(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return typeof value === "string" ? value : undefined;
}

/** Lower case and without the default port, as RFC 9421 §2.2.3 asks. */
function authorityOf(host: string, protocol: "http" | "https"): string {
  const suffix = protocol === "https" ? ":443" : ":80";
  const lower = host.toLowerCase();
  return lower.endsWith(suffix) ? lower.slice(0, -suffix.length) : lower;
}

function certificateOf({ socket }: IncomingMessage): ClientCertificate | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return undefined;
  const commonName = /^CN=(.*)$/m.exec(certificate.subject)?.[1];
  return {
    authorized: socket.authorized,
    ...(socket.authorized ? {} : { authorizationError: String(socket.authorizationError) }),
    fingerprintSha256: certificate.fingerprint256.replaceAll(":", "").toLowerCase(),
    ...(commonName === undefined ? {} : { commonName }),
    // A stranger's names are nothing to go by.
    alternativeNames: socket.authorized ? alternativeNamesOf(certificate.subjectAltName ?? "") : [],
    validToUnixMs: Date.parse(certificate.validTo),
  };
}

/**
 * Takes Node's text of alternative names apart. Node quotes a name that holds a comma as a JSON string, so that no name
 * smuggles in another. Sticky: it stops at what it doesn't know, and takes linear time.
 */
export function alternativeNamesOf(text: string): readonly string[] {
  return Array.from(
    text.matchAll(/([A-Za-z][A-Za-z ]*:)(?:("(?:[^"\\]|\\.)*")|([^,"]*))(?:, |$)/gy),
    ([, kind, quoted, plain]) => (quoted === undefined ? `${kind}${plain}` : `${kind}${unquoted(quoted)}`),
  );
}

function unquoted(json: string): string {
  try {
    return String(JSON.parse(json));
  } catch {
    return json;
  }
}

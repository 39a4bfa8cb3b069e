/** A client certificate that a TLS handshake brought. */
export interface ClientCertificate {
  /** Whether the chain was verified against the certificate authorities of the listener. */
  readonly authorized: boolean;
  /** Why not, in OpenSSL's word. */
  readonly authorizationError?: string;
  /** SHA-256 of the DER form, 64 lower-case hex digits. */
  readonly fingerprintSha256: string;
  /** Common name of the subject. */
  readonly commonName?: string;
  /** Subject alternative names as `DNS:example.org`, `URI:spiffe://…`, `email:…`, in their order. */
  readonly alternativeNames: readonly string[];
  /** End of validity, wall-clock milliseconds since 1970. */
  readonly validToUnixMs: number;
}

/**
 * What authentication looks at in an HTTP request; made from `node:http` by {@link fromNodeRequest}, from Fastify by
 * {@link fromFastifyRequest}, or by hand.
 */
export interface HttpRequest {
  /** Upper case. */
  readonly method: string;
  /** How the client came: the proxy's word, where one is trusted. */
  readonly protocol: "http" | "https";
  /** Host and port as the client named them, lower case, without the default port. */
  readonly authority: string;
  /** Path and query, as sent. */
  readonly target: string;
  /** Names are lower case. A field that came several times is a list, or already joined by `, `. */
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The client's IP address, as text. */
  readonly remoteAddress: string;
  readonly clientCertificate?: ClientCertificate;
  /** The bytes of the body, if they have been read by now: HTTP signatures cover them by their digest. */
  readonly body?: Uint8Array;
}

/** The value of a field; several are joined as RFC 9110 §5.3 says. `name` in lower case. */
export function headerValue(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return value === undefined || typeof value === "string" ? value : value.join(", ");
}

/** The path of the target, without its query. */
export function pathOf(request: HttpRequest): string {
  const end = request.target.search(/[?#]/);
  return end === -1 ? request.target : request.target.slice(0, end);
}

/** Whether the request may change something: not a safe method of RFC 9110 §9.2.1. */
export function isMutation(request: HttpRequest): boolean {
  return !["GET", "HEAD", "OPTIONS", "TRACE"].includes(request.method);
}

/** The credentials of `Authorization: SCHEME CREDENTIALS` (RFC 9110 §11.4); `scheme` in lower case. */
export function authorizationCredentials(request: HttpRequest, scheme: string): string | undefined {
  const value = headerValue(request, "authorization");
  if (value === undefined) return undefined;
  const space = value.indexOf(" ");
  const name = space === -1 ? value : value.slice(0, space);
  if (name.toLowerCase() !== scheme) return undefined;
  return space === -1 ? "" : value.slice(space + 1).trim();
}

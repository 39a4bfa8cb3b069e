import { formatHostPort, parseHint, parseHostPort, parseReference, referenceServerName } from "@turnpike/hints";
import type { TlsClientOptions } from "./transports/transport.ts";

/** Where the relay is that a reference names, and how it proves that it is. */
export interface ReferencedServer {
  /** `turns:` URIs, best first. */
  readonly uris: readonly string[];
  /** The key to insist on. */
  readonly tls: TlsClientOptions;
}

/**
 * Reads the reference of a relay (`turnpike://KEY@HINT,HINT/REALM`): its hints of type `tcp` and `tls` as URIs to allocate
 * at, over TLS 1.3 with its key, whatever certificate the relay shows to others.
 *
 * @example
 * const { uris, tls } = referencedServer(reference);
 * const allocation = await allocate(uris[0]!, { username, credential, tls });
 *
 * @throws InvalidReferenceError, InvalidHintError; TypeError if no hint of the reference can be used here
 */
export function referencedServer(reference: string): ReferencedServer {
  const { keyDigest, hints } = parseReference(reference);
  const usable = hints.filter((text) => /^(?:tcp|tls):/u.test(text));
  if (usable.length === 0) throw new TypeError("Cannot use the reference: none of its hints is of type tcp or tls");
  return {
    uris: usable.map((text) => {
      const { type, rest } = parseHint(text, { hasHandler: (known) => known === "tcp" || known === "tls" });
      const { host, port } = parseHostPort(rest, { hint: text, start: type.length + 1 });
      return `turns:${formatHostPort(host, port)}?transport=tcp`;
    }),
    tls: {
      pins: [Buffer.from(keyDigest).toString("base64")],
      serverName: referenceServerName,
      minVersion: "TLSv1.3",
    },
  };
}

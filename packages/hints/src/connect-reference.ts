import type { Connection, Connector } from "./connector.ts";
import { HeldCarrier } from "./held-carrier.ts";
import { type Reference, referenceServerName } from "./reference.ts";
import type { HintStatus } from "./status.ts";
import { startTls } from "./tls-client.ts";

/**
 * Connects to the peer that a reference names: over whichever of its hints carries TLS 1.3 with the reference's key first.
 * Whoever answers with another key gets not one byte of application data.
 *
 * @throws ConnectError
 */
export function connectReference(
  connector: Connector,
  reference: Reference,
  options: {
    readonly signal?: AbortSignal;
    readonly onStatus?: (statuses: readonly HintStatus[]) => void;
    readonly moreHints?: AsyncIterable<readonly string[]>;
  } = {},
): Promise<Connection> {
  const { keyDigest } = reference;
  return connector.connect({
    ...options,
    hints: reference.hints,
    identity: { kind: "reference", keyDigest },
    halfClose: true,
    prove: (stream, { signal }) =>
      startTls(new HeldCarrier(stream), {
        identity: { kind: "pin", keyDigest },
        serverName: referenceServerName,
        minVersion: "TLSv1.3",
        signal,
      }),
  });
}

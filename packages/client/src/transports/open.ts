import { TurnClientError } from "../errors.ts";
import type { ServerCandidate } from "../resolve.ts";
import { connectStream } from "./connect-stream.ts";
import { openDtls } from "./dtls.ts";
import { StreamTransport } from "./stream.ts";
import { DEFAULT_SEND_QUEUE_BYTES, type OpenTransportOptions, type Transport } from "./transport.ts";
import { openUdp } from "./udp.ts";

/**
 * Opens a transport to one server.
 *
 * @throws TurnClientError; the signal's reason.
 */
export async function openTransport(
  candidate: ServerCandidate,
  options: OpenTransportOptions = {},
): Promise<Transport> {
  switch (candidate.transport) {
    case "udp":
    case "dtls":
      if (options.connector !== undefined) {
        throw new TurnClientError(
          "unsupportedTransport",
          `Cannot connect by ${candidate.transport.toUpperCase()} through a connector: it carries streams; use ?transport=tcp`,
        );
      }
      return candidate.transport === "udp" ? openUdp(candidate, options) : openDtls(candidate, options);
    case "tcp":
    case "tls":
    case "ws":
    case "wss": {
      const { stream, remote, security } = await connectStream(candidate, options);
      return new StreamTransport(stream, {
        kind: candidate.transport,
        remote,
        security,
        sendQueueBytes: options.sendQueueBytes ?? DEFAULT_SEND_QUEUE_BYTES,
      });
    }
  }
}

import { TurnClientError } from "../errors.ts";
import type { ServerCandidate } from "../resolve.ts";
import { connectStream } from "./connect-stream.ts";
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
      return openUdp(candidate, options);
    case "dtls":
      throw new TurnClientError(
        "unsupportedTransport",
        "Cannot connect by DTLS: this client has no DTLS; use turns:…?transport=tcp",
      );
    case "tcp":
    case "tls":
    case "ws":
    case "wss": {
      const { stream, security } = await connectStream(candidate, options);
      return new StreamTransport(stream, {
        kind: candidate.transport,
        remote: candidate.address,
        security,
        sendQueueBytes: options.sendQueueBytes ?? DEFAULT_SEND_QUEUE_BYTES,
      });
    }
  }
}

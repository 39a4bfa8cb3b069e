import { X509Certificate } from "node:crypto";
import type { Socket } from "node:dgram";
import { connectDtls, loadOpenSsl, MAX_DTLS_PAYLOAD, type DtlsSession } from "@turnpike/dtls";
import { asError, reasonOf, TurnClientError } from "../errors.ts";
import { placeOf, type ServerCandidate } from "../resolve.ts";
import { isPinned, notPinned, readAuthorities, readPin } from "./trust.ts";
import {
  CONNECT_TIMEOUT_MS,
  DEFAULT_SEND_QUEUE_BYTES,
  TURN_APPLICATION_PROTOCOLS,
  type OpenTransportOptions,
  type Transport,
  type TransportReceiver,
  type TransportSecurity,
} from "./transport.ts";
import { openUdpSocket } from "./udp.ts";

/**
 * Opens DTLS 1.2 to a server (RFC 7350). No byte of the protocol is sent before the server's certificate was accepted.
 * `load` reaches OpenSSL; an input, so that its refusal can be tested.
 *
 * @throws TurnClientError with `unsupportedTransport`, `notConnected` or `certificateRejected`; TypeError for a pin or a
 *   certificate authority that is none; the signal's reason.
 */
export async function openDtls(
  candidate: ServerCandidate,
  options: OpenTransportOptions,
  load: typeof loadOpenSsl = loadOpenSsl,
): Promise<Transport> {
  const openSsl = load();
  if ("unavailable" in openSsl) {
    throw new TurnClientError(
      "unsupportedTransport",
      `Cannot connect by DTLS: ${openSsl.unavailable}; install koffi and use an official node binary, or use ?transport=tcp`,
    );
  }
  const { ca, pins, applicationProtocols = TURN_APPLICATION_PROTOCOLS } = options.tls ?? {};
  const expected = pins?.map((pin) => readPin(pin));
  const authorities = ca === undefined ? {} : { ca: readAuthorities(ca).map((pem) => Buffer.from(pem)) };
  const socket = await openUdpSocket(candidate, options);
  const transport = new DtlsTransport(socket, candidate, options.sendQueueBytes ?? DEFAULT_SEND_QUEUE_BYTES);
  try {
    await transport.connect(
      (user) =>
        connectDtls({
          openSsl,
          host: candidate.serverName,
          ...authorities,
          // A pinned key stands in for authority and name; it is checked below, before a byte is sent.
          rejectUnauthorized: expected === undefined,
          applicationProtocols,
          user,
        }),
      options,
    );
    if (expected !== undefined && !isPinned(transport.certificate, expected)) throw notPinned(candidate.serverName);
  } catch (error) {
    transport.close();
    throw error;
  }
  return transport;
}

type StartSession = (user: Parameters<typeof connectDtls>[0]["user"]) => DtlsSession;

/** A DTLS association: a message in each record, a record in each datagram. */
class DtlsTransport implements Transport {
  readonly kind = "dtls";
  readonly reliable = false;
  readonly longestMessage = MAX_DTLS_PAYLOAD;
  readonly remote: Transport["remote"];
  readonly #socket: Socket;
  readonly #place: string;
  readonly #sendQueueBytes: number;
  #session: DtlsSession | undefined;
  #security: TransportSecurity | undefined;
  #receiver: TransportReceiver | undefined;
  #retransmission: NodeJS.Timeout | undefined;
  /** Ends the wait for the handshake. */
  #settle: ((error?: Error) => void) | undefined;
  #isClosed = false;
  #error: Error | undefined;

  constructor(socket: Socket, candidate: ServerCandidate, sendQueueBytes: number) {
    this.#socket = socket;
    this.remote = candidate.address;
    this.#place = placeOf(candidate);
    this.#sendQueueBytes = sendQueueBytes;
    socket.on("message", (datagram) => this.#advance((session) => session.handleDatagram(datagram)));
    socket.on("error", (error) => this.#refused(error));
  }

  get security(): TransportSecurity | undefined {
    return this.#security;
  }

  get certificate(): X509Certificate | undefined {
    const der = this.#session?.peerCertificate;
    return der === undefined ? undefined : new X509Certificate(der);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isCongested(): boolean {
    return !this.#isClosed && this.#socket.getSendQueueSize() > this.#sendQueueBytes;
  }

  /** The handshake, to its end. */
  async connect(start: StartSession, options: OpenTransportOptions): Promise<void> {
    const { signal, connectTimeoutMs = CONNECT_TIMEOUT_MS } = options;
    if (signal?.aborted === true) throw reasonOf(signal);
    let abort: (() => void) | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = (error) => (error === undefined ? resolve() : reject(error));
        abort = () => reject(reasonOf(signal!));
        signal?.addEventListener("abort", abort, { once: true });
        const late = (): void => reject(this.#failure("notConnected", `no answer within ${connectTimeoutMs / 1000} s`));
        timer = setTimeout(late, connectTimeoutMs);
        this.#session = start({
          send: (datagram) => this.#sendDatagram(datagram),
          receive: (bytes) => this.#receiver?.onPacket(bytes, 0, bytes.length),
        });
        this.#advance(() => undefined);
      });
    } finally {
      this.#settle = undefined;
      clearTimeout(timer);
      if (abort !== undefined) signal?.removeEventListener("abort", abort);
    }
    this.#security = this.#session?.security;
  }

  send(bytes: Uint8Array): void {
    if (!this.#isClosed) this.#session?.send(bytes);
  }

  start(receiver: TransportReceiver): void {
    if (this.#isClosed) {
      queueMicrotask(() => receiver.onClosed(this.#error));
      return;
    }
    this.#receiver = receiver;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#receiver = undefined;
    clearTimeout(this.#retransmission);
    this.#session?.close();
    this.#socket.close();
  }

  /** An input of the session, and what follows from it. */
  #advance(input: (session: DtlsSession) => void): void {
    const session = this.#session;
    if (session === undefined || this.#isClosed) return;
    const before = session.state;
    input(session);
    // Who was told of something may have closed it.
    if (this.#isClosed || (before === "open" && session.state === "open")) return;
    clearTimeout(this.#retransmission);
    if (session.state === "ended") {
      this.#ended(session);
      return;
    }
    if (session.state === "open") {
      this.#settle?.();
      return;
    }
    const timeoutMs = session.timeoutMs();
    if (timeoutMs === undefined) return;
    const again = (): void => this.#advance((it) => it.handleTimeout());
    this.#retransmission = setTimeout(again, Math.ceil(timeoutMs));
  }

  #ended({ error, certificateProblem }: DtlsSession): void {
    const failure =
      certificateProblem === undefined
        ? this.#failure("notConnected", error ?? "the server closed the association")
        : this.#failure("certificateRejected", certificateProblem);
    const receiver = this.#receiver;
    // A goodbye is no error.
    this.#error = error === undefined ? undefined : new Error(error);
    this.close();
    this.#settle?.(failure);
    receiver?.onClosed(this.#error);
  }

  #refused(error: Error): void {
    if (this.#isClosed) return;
    this.#settle?.(this.#failure("notConnected", error.message, error));
    this.#receiver?.onRefused(error);
  }

  #failure(code: "notConnected" | "certificateRejected", why: string, cause?: Error): TurnClientError {
    return new TurnClientError(code, `Cannot connect by dtls to ${this.#place}: ${why}`, { cause });
  }

  #sendDatagram(datagram: Uint8Array): void {
    // The session uses its memory again.
    this.#socket.send(Buffer.from(datagram), (error) => {
      if (error !== null && error !== undefined) this.#refused(asError(error));
    });
  }
}

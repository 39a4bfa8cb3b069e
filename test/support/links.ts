import { createSocket } from "node:dgram";
import { connect as connectTcp, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { connectDtls, loadOpenSsl } from "@turnpike/dtls";
import { formatIpAddress, StreamFramer, type TransportAddress } from "@turnpike/stun";
import type { ClientTransport } from "@turnpike/turn";
import { createWebSocketStream, WebSocket } from "ws";

/** A way to a relay that carries whole TURN messages. */
export interface Link {
  /** The stream under it; undefined for DTLS. */
  readonly stream: Duplex | undefined;
  send(bytes: Uint8Array): void;
  close(): void;
}

/** Who takes what a link brings. */
export interface LinkUser {
  readonly message: (bytes: Uint8Array) => void;
  readonly closed: () => void;
}

/** How a link is made. */
export interface LinkOptions {
  readonly transport: Exclude<ClientTransport, "udp">;
  readonly server: TransportAddress;
  readonly ca: Buffer | undefined;
  /** Sent before all else, in the clear: a PROXY header. */
  readonly preamble?: Uint8Array | undefined;
}

/** Connects. Rejects if the connection ends before it is made. */
export async function openLink(options: LinkOptions, user: LinkUser): Promise<Link> {
  return options.transport === "dtls" ? openDtls(options, user) : overStream(await openStream(options), user);
}

/** A connection of one of the stream transports, up to the first byte of TURN. */
export async function openStream(options: LinkOptions): Promise<Duplex> {
  const { transport, server, ca } = options;
  const socket: Socket = connectTcp({ host: formatIpAddress(server), port: server.port, allowHalfOpen: true });
  socket.on("error", () => {});
  await settled(socket, "connect");
  if (options.preamble !== undefined) socket.write(options.preamble);
  if (transport === "tcp") return socket;
  const secure = (): Socket =>
    connectTls({ socket, servername: "relay.example", ALPNProtocols: ["stun.turn"], ...(ca && { ca }) });
  if (transport === "tls") {
    const stream = secure();
    stream.on("error", () => {});
    await settled(stream, "secureConnect");
    return stream;
  }
  const isSecure = transport === "wss";
  const webSocket = new WebSocket("ws://relay.example/", "turn", {
    createConnection: () =>
      isSecure
        ? connectTls({ socket, servername: "relay.example", ALPNProtocols: ["http/1.1"], ...(ca && { ca }) })
        : socket,
  });
  const stream = createWebSocketStream(webSocket);
  stream.on("error", () => {});
  await settled(webSocket, "open");
  return stream;
}

function overStream(stream: Duplex, user: LinkUser): Link {
  const framer = new StreamFramer();
  const end = (): void => {
    stream.end();
  };
  const take = (chunk: Uint8Array): void => {
    framer.push(chunk);
    for (let frame = framer.next(); frame !== undefined; frame = framer.next()) {
      if (frame.kind === "error") throw new Error(`The relay sent no TURN: ${frame.code} at ${frame.offset}`);
      const message = frame.buffer.slice(frame.offset, frame.offset + frame.length);
      // From a success answer to ConnectionBind on, the bytes are the peer's (RFC 6062 §4.3).
      if (message[0] === 0x01 && message[1] === 0x0b) {
        stream.pause();
        stream.off("data", take);
        stream.off("end", end);
        const rest = framer.takeRest();
        if (rest.length > 0) stream.unshift(Buffer.from(rest));
      }
      user.message(message);
    }
  };
  stream.on("data", take);
  stream.on("error", () => {});
  stream.on("end", end);
  stream.once("close", user.closed);
  return { stream, send: (bytes) => void stream.write(bytes), close: () => stream.destroy() };
}

function openDtls({ server, ca }: LinkOptions, user: LinkUser): Promise<Link> {
  const openSsl = loadOpenSsl();
  if ("unavailable" in openSsl) throw new Error(openSsl.unavailable);
  const socket = createSocket(server.family === 4 ? "udp4" : "udp6");
  return new Promise((resolve, reject) => {
    socket.connect(server.port, formatIpAddress(server), () => {
      const session = connectDtls({
        openSsl,
        host: "relay.example",
        ...(ca ? { ca: [ca] } : { rejectUnauthorized: false }),
        user: {
          send: (datagram) => socket.send(Buffer.from(datagram)),
          receive: (bytes) => user.message(bytes.slice()),
        },
      });
      let isOpen = false;
      const end = (): void => {
        socket.close();
        user.closed();
      };
      socket.on("message", (datagram) => {
        session.handleDatagram(datagram);
        if (session.state === "ended") {
          end();
          if (!isOpen) reject(new Error(session.error ?? "ended"));
        } else if (session.state === "open" && !isOpen) {
          isOpen = true;
          resolve({
            stream: undefined,
            send: (bytes) => void session.send(bytes),
            close() {
              if (session.state === "ended") return;
              session.close();
              end();
            },
          });
        }
      });
    });
  });
}

function settled(emitter: Duplex | WebSocket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    emitter.once(event, () => resolve());
    emitter.once("error", reject);
    emitter.once("close", () => reject(new Error("The connection was closed")));
  });
}

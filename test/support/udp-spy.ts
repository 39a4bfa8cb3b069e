import { createSocket, type Socket } from "node:dgram";
import { attributes, decodeMessage, errorCode, getAttribute, hasAttribute } from "@turnpike/stun";

/** One STUN answer that passed, with what its request carried. */
export interface SeenAnswer {
  readonly method: string | undefined;
  /** 0 for a success. */
  readonly code: number;
  /** Whether the request was signed. */
  readonly isAuthenticated: boolean;
}

/** Stands between clients and a server on 127.0.0.1, passes every datagram on, and notes the answers to requests. */
export interface UdpSpy {
  readonly port: number;
  readonly answers: readonly SeenAnswer[];
  close(): Promise<void>;
}

/** Starts a spy before the server at `port`. */
export async function startUdpSpy(options: { readonly port: number }): Promise<UdpSpy> {
  const answers: SeenAnswer[] = [];
  const signed = new Map<string, boolean>();
  const ways = new Map<number, Socket>();
  const front = createSocket("udp4");
  front.on("message", (bytes, client) => {
    const request = decodeMessage(bytes);
    if (request.ok)
      signed.set(
        idOf(request.message.transactionId),
        hasAttribute(request.message, { type: attributes.messageIntegrity.number }),
      );
    const way = ways.get(client.port) ?? openWay(client.port);
    way.send(bytes, options.port, "127.0.0.1");
  });
  const openWay = (clientPort: number): Socket => {
    const way = createSocket("udp4");
    ways.set(clientPort, way);
    way.on("message", (bytes) => {
      const answer = decodeMessage(bytes);
      const isAuthenticated = answer.ok ? signed.get(idOf(answer.message.transactionId)) : undefined;
      if (answer.ok && isAuthenticated !== undefined) {
        const error = getAttribute(answer.message, errorCode);
        const code = error?.ok === true ? error.value.code : 0;
        answers.push({ method: answer.message.methodName, code, isAuthenticated });
      }
      front.send(bytes, clientPort, "127.0.0.1");
    });
    return way;
  };
  await new Promise<void>((resolve) => {
    front.bind(0, "127.0.0.1", resolve);
  });
  return {
    port: front.address().port,
    answers,
    close: async () => {
      await Promise.all(
        [front, ...ways.values()].map((socket) => new Promise<void>((done) => socket.close(() => done()))),
      );
    },
  };
}

function idOf(transactionId: Uint8Array): string {
  return Buffer.from(transactionId).toString("hex");
}

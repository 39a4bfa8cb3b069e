import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";

/** A SOCKS5 server (RFC 1928) without authentication, which leads every name to ports of this machine. */
export interface SocksServer extends AsyncDisposable {
  readonly port: number;
  /** What it was asked for, as `host:port`; user names are not asked for. */
  readonly asked: readonly string[];
}

/** Starts one: `lead` gives the port on loopback that a host and port lead to; undefined refuses. */
export async function startSocksServer(lead: (target: string) => number | undefined): Promise<SocksServer> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const serve = async (socket: Socket): Promise<void> => {
    const greeting = await take(socket, 2);
    const methods = await take(socket, greeting[1] ?? 0);
    const isNamed = methods.includes(2);
    socket.write(Buffer.from([5, isNamed ? 2 : 0]));
    if (isNamed) {
      // RFC 1929; what they are is Tor's affair, which isolates streams by them.
      await take(socket, (await take(socket, 2))[1] ?? 0);
      await take(socket, (await take(socket, 1))[0] ?? 0);
      socket.write(Buffer.from([1, 0]));
    }
    const request = await take(socket, 5);
    if (request[3] !== 3) throw new Error("only names are asked for here");
    const name = await take(socket, request[4] ?? 0);
    const target = `${name.toString()}:${(await take(socket, 2)).readUInt16BE()}`;
    asked.push(target);
    const port = lead(target);
    socket.write(Buffer.from([5, port === undefined ? 4 : 0, 0, 1, 0, 0, 0, 0, 0, 0]));
    if (port === undefined) throw new Error("nowhere");
    const onward = connect({ host: "127.0.0.1", port });
    sockets.add(onward);
    onward.on("error", () => socket.destroy());
    onward.once("close", () => socket.destroy());
    socket.once("close", () => onward.destroy());
    socket.pipe(onward).pipe(socket);
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    void serve(socket).catch(() => socket.destroy());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function take(socket: Socket, length: number): Promise<Buffer> {
  if (length === 0) return Buffer.alloc(0);
  for (;;) {
    const bytes: unknown = socket.read(length);
    if (Buffer.isBuffer(bytes) && bytes.length === length) return bytes;
    if (socket.readableEnded || socket.destroyed) throw new Error("ended early");
    await once(socket, "readable");
  }
}

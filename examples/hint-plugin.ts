// Teaches a connector and a listener another network, the way an i2p: plug-in would: npx node examples/hint-plugin.ts
import { connect, createServer, type Server } from "node:net";
import {
  Connector,
  createGate,
  type DialTarget,
  type HintHandler,
  InvalidHintError,
  type ListenHandler,
  Listener,
  nodeDialer,
  systemResolver,
} from "@turnpike/hints";

/**
 * Reaches a destination through a router of that network. Where the router is, is local configuration and stands here;
 * the hint names the destination and nothing else.
 */
function createI2pHandler(options: { readonly router: DialTarget }): HintHandler {
  return {
    toEndpoint(context) {
      const { hint, network } = context;
      // `network` is the gate: what policy forbids fails here, whatever a hint asks for.
      if (!/^[a-z0-9-]{1,60}\.i2p$/u.test(hint.rest)) {
        throw new InvalidHintError({ code: "bad-name", hint: hint.text, offset: "i2p:".length });
      }
      return {
        lane: "tor",
        host: hint.rest,
        async connect({ signal }) {
          context.status("I2P: asking the router");
          const stream = await network.dial({ ...options.router, spelledOut: true }, { signal });
          stream.write(`STREAM CONNECT DESTINATION=${hint.rest}\n`);
          return stream;
        },
      };
    },
  };
}

/** Listens on loopback for what a router forwards, and advertises the destination. */
function createI2pListener(options: { readonly destination: string }): ListenHandler {
  return {
    async listen(context) {
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        context.accept(socket, { remoteAddress: undefined });
      });
      const port = await listenOnLoopback(server, Number(context.spec.rest));
      return {
        bound: `127.0.0.1:${port}`,
        hints: [`i2p:${options.destination}`],
        close: () => new Promise((resolve) => server.close(() => resolve())),
      };
    },
  };
}

function listenOnLoopback(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}

// A stand-in for the router, so that the example runs anywhere: it forwards every stream to the listener.
let forwardTo = 0;
const router = createServer({ allowHalfOpen: true }, (socket) => {
  socket.once("data", (request: Buffer) => {
    console.log(`router: ${request.toString().trim()}`);
    socket.pipe(connect({ port: forwardTo, host: "127.0.0.1", allowHalfOpen: true })).pipe(socket);
  });
});
const routerPort = await listenOnLoopback(router, 0);

const gate = createGate({ policy: {}, dialer: nodeDialer, resolver: systemResolver });
const listener = new Listener({ gate });
listener.addListenHandler("i2p", createI2pListener({ destination: "example.i2p" }));
const group = listener.listen({ specs: ["i2p:0"], onStream: (stream) => stream.pipe(stream) });
const { advertised, listeners } = await group.ready;
forwardTo = Number(listeners[0]?.bound.split(":")[1]);

const connector = new Connector({ policy: { privateAddresses: "literal" } });
connector.addHintHandler("i2p", createI2pHandler({ router: { kind: "tcp", address: "127.0.0.1", port: routerPort } }));
const { stream, hint } = await connector.connect({ hints: advertised.map((one) => one.hint) });
console.log(`connected by ${hint}`);
stream.end("hello through another network\n");
for await (const chunk of stream) process.stdout.write(String(chunk));

await group.close();
await connector.close();
router.close();

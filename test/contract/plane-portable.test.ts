import { createSocket } from "node:dgram";
import { PortablePlane } from "@turnpike/relay";
import { describePlane } from "./plane-contract.ts";

describePlane("portable", {
  createPlane: (failSends = () => undefined) =>
    new PortablePlane({
      createSocket: (options) => {
        const socket = createSocket(options);
        const send = socket.send.bind(socket);
        Object.defineProperty(socket, "send", {
          value: (
            bytes: Uint8Array,
            offset: number,
            length: number,
            port: number,
            address: string,
            done: (error: Error | null, sent: number) => void,
          ) => {
            const code = failSends();
            if (code === undefined) {
              send(bytes, offset, length, port, address, done);
            } else {
              done(Object.assign(new Error(code), { code }), 0);
            }
          },
        });
        return socket;
      },
    }),
});

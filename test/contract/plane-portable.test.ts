import { createSocket } from "node:dgram";
import { PortablePlane } from "@turnpike/relay";
import { describePlane } from "./plane-contract.ts";
import { describePlaneFaults } from "./plane-faults-contract.ts";
import { describeRelayOverPlane } from "./plane-relay-contract.ts";
import type { PlaneFaults, PlaneHarness } from "./support/plane-harness.ts";

const harness: PlaneHarness = {
  createPlane: ({ failSends, failReceives, bufferBytes }: PlaneFaults = {}) =>
    new PortablePlane({
      ...(bufferBytes !== undefined && { socketBufferBytes: bufferBytes }),
      createSocket: (options) => {
        const socket = createSocket(options);
        const send = socket.send.bind(socket);
        Object.defineProperty(socket, "send", {
          value: (
            bytes: Uint8Array,
            port: number,
            address: string,
            done?: (error: Error | null, sent: number) => void,
          ) => {
            const code = failSends?.();
            if (code === undefined) send(bytes, port, address, done);
            else done?.(systemError(code), 0);
          },
        });
        const emit = socket.emit.bind(socket);
        Object.defineProperty(socket, "emit", {
          // What a receive failed with comes before the datagram that the next one finds; EAGAIN libuv keeps to itself.
          value: (event: string, ...values: readonly unknown[]): boolean => {
            const code = event === "message" ? failReceives?.() : undefined;
            if (code !== undefined && code !== "EAGAIN") emit("error", systemError(code));
            return Reflect.apply(emit, undefined, [event, ...values]);
          },
        });
        return socket;
      },
    }),
  seesIcmp: false,
};

describePlane("portable", harness);
describePlaneFaults("portable", harness);
describeRelayOverPlane("portable", harness);

function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}

import { Duplex } from "node:stream";
import { AddressRegister, encodeChannelData } from "@turnpike/stun";
import { ClientSource } from "@turnpike/turn";
import { expect, test } from "vitest";
import { StreamConnection } from "./stream-connection.ts";

const ANSWER = new Uint8Array(100);

test("a client that asks without end and reads nothing is closed, its datagrams dropped before", () => {
  // Takes the first write and never finishes it: nobody reads at the other end.
  const stream = new Duplex({ read() {}, write() {}, highWaterMark: 64 });
  const seen = { dropped: 0, unread: 0 };
  const connection = new StreamConnection({
    id: 1,
    source: new ClientSource(new AddressRegister()),
    stream,
    maxOutputQueueBytes: 1000,
    nowMs: 0,
    user: {
      handleFrame() {},
      handleMalformed() {},
      handleUnread: () => seen.unread++,
      handleDropped: (datagrams) => {
        seen.dropped += datagrams;
      },
      handleClosed() {},
      willFlush: (each) => each.flush(),
    },
  });
  const datagram = encodeChannelData(0x4000, new Uint8Array(96));
  for (let count = 0; count < 31; count++) expect(connection.send(datagram)).toBe(true);
  expect(seen).toEqual({ dropped: 20, unread: 0 });
  for (let count = 0; count < 10; count++) expect(connection.send(ANSWER)).toBe(true);
  expect(seen).toEqual({ dropped: 30, unread: 0 });
  expect(connection.waitingBytes).toBeLessThanOrEqual(1100);
  expect(connection.send(ANSWER)).toBe(false);
  expect(seen.unread).toBe(1);
  expect(stream.destroyed).toBe(true);
});

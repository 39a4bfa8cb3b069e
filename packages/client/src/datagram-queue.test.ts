import { transportAddress } from "@turnpike/stun";
import { describe, expect, it } from "vitest";
import { DatagramQueue } from "./datagram-queue.ts";

const peer = transportAddress("192.0.2.1", 1);
const datagram = (first: number, length = 1) => {
  const data = new Uint8Array(length);
  data[0] = first;
  return { peer, data, channel: 0 };
};

describe("DatagramQueue", () => {
  it("drops the oldest when it is full, by count and by bytes", async () => {
    const queue = new DatagramQueue({ datagrams: 3, bytes: 100 });
    for (let i = 0; i < 5; i++) queue.push(datagram(i));
    expect([queue.length, queue.dropped]).toEqual([3, 2]);
    queue.push(datagram(9, 99));
    expect([queue.length, queue.dropped]).toEqual([2, 4]);
    queue.push(datagram(10, 200));
    expect([queue.length, queue.dropped]).toEqual([1, 6]);
    queue.end();
    const read = [];
    for await (const { data } of queue.read()) read.push(data[0]);
    expect(read).toEqual([10]);
  });

  it("hands what waits to a reader, wakes several, and ends them with the error", async () => {
    const queue = new DatagramQueue({ datagrams: 10, bytes: 100 });
    const readers = [queue.read(), queue.read()];
    const first = readers.map((reader) => reader.next());
    await Promise.resolve();
    queue.push(datagram(1));
    queue.push(datagram(2));
    const results = await Promise.all(first);
    expect(new Set(results.map(({ value }) => value?.data[0]))).toEqual(new Set([1, 2]));
    const last = Promise.allSettled(readers.map((reader) => reader.next()));
    await Promise.resolve();
    queue.end(new Error("lost"));
    expect((await last).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    queue.push(datagram(3));
    expect(queue.length).toBe(0);
  });
});

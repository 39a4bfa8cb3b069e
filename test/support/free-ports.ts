import { UdpPeer } from "./udp-peer.ts";

/**
 * The first of `count` neighbouring ports of 127.0.0.1 that nobody has, even, outside of the ranges that systems give
 * out by themselves.
 */
export async function freePorts(count: number): Promise<number> {
  const windows = 100;
  for (let attempt = 0; attempt < windows; attempt++) {
    const first = 20_000 + ((process.pid + attempt * 7) % windows) * 100;
    const peers = await Promise.allSettled(
      Array.from({ length: count }, (_, index) => UdpPeer.open("127.0.0.1", first + index)),
    );
    const opened = peers.flatMap((peer) => (peer.status === "fulfilled" ? [peer.value] : []));
    await Promise.all(opened.map((peer) => peer.close()));
    if (opened.length === count) {
      return first;
    }
  }
  throw new Error(`There are no ${count} free neighbouring ports`);
}

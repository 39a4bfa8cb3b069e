import { readdirSync } from "node:fs";
import type { TransportAddress } from "@turnpike/stun";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Arena } from "../../libc/arena.ts";
import * as L from "../../libc/layout.ts";
import { type Libc, loadLibc, SystemCallError } from "../../libc/libc.ts";
import { PlaneCounters } from "../counters.ts";
import { SocketRole } from "./socket-table.ts";
import { WatchedSockets } from "./watched-sockets.ts";

const ADDRESSES: readonly TransportAddress[] = [
  { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x7f000001, port: 0 },
  { family: 6, w0: 0, w1: 0, w2: 0, w3: 1, port: 0 },
];
const real = loadLibc();

if ("unavailable" in real) {
  test("elsewhere than on linux-x64 with glibc, no socket is watched", () => {
    expect(real.unavailable.length).toBeGreaterThan(20);
  });
} else {
  /** The call that fails, and with what; none while undefined. */
  let failing: { readonly call: "epollCtl" | "setsockopt"; readonly errno: number } | undefined;
  let failed = 0;
  let watched: WatchedSockets;
  let opened: number[];

  const refuse = (call: "epollCtl" | "setsockopt"): boolean => {
    failed = failing?.call === call ? failing.errno : 0;
    return failed !== 0;
  };
  const libc: Libc = {
    ...real,
    epollCtl: (...call) => (call[1] === L.EPOLL_CTL_ADD && refuse("epollCtl") ? -1 : real.epollCtl(...call)),
    setsockopt: (fd, level, name, value, length) => {
      const isTrafficClass =
        (level === L.IPPROTO_IP && name === L.IP_RECVTOS) || (level === L.IPPROTO_IPV6 && name === L.IPV6_RECVTCLASS);
      return isTrafficClass && refuse("setsockopt") ? -1 : real.setsockopt(fd, level, name, value, length);
    },
    errno: () => (failed === 0 ? real.errno() : failed),
  };
  const watch = (): WatchedSockets =>
    new WatchedSockets({
      libc,
      arena: new Arena(libc, WatchedSockets.SPACE),
      counters: new PlaneCounters().values,
      bufferBytes: undefined,
      tellTrafficClass: true,
      wakeDescriptor: undefined,
    });
  const descriptors = (): number => readdirSync("/dev/fd").length;
  /** A socket of somebody else's. */
  const bind = (local: TransportAddress): number => {
    const { fd } = watched.factory.open({ local });
    opened.push(fd);
    return fd;
  };

  beforeEach(() => {
    failing = undefined;
    failed = 0;
    opened = [];
    watched = watch();
  });
  afterEach(() => {
    watched.closeAll();
    for (const fd of opened) real.close(fd);
  });

  const failures = ADDRESSES.flatMap((local) => [
    { local, family: local.family, call: "epollCtl", errno: 28, code: "ENOSPC", failure: "failed" } as const,
    { local, family: local.family, call: "epollCtl", errno: L.ENOMEM, code: "ENOMEM", failure: "noResources" } as const,
    {
      local,
      family: local.family,
      call: "setsockopt",
      errno: L.EPERM,
      code: "EPERM",
      failure: "notPermitted",
    } as const,
  ]);

  test.each(failures)("a socket of IPv$family whose $call fails with $code is closed and forgotten", (each) => {
    const before = descriptors();
    failing = each;
    expect(watched.open(each.local, SocketRole.relay, 0)).toEqual({
      kind: "failed",
      failure: each.failure,
      code: each.code,
    });
    expect(descriptors()).toBe(before);
    expect([...watched.table.roles]).not.toContain(SocketRole.relay);
    failing = undefined;
    failed = 0;
    // Its place is used again, and its entry is that of a fresh socket.
    expect(watched.open(each.local, SocketRole.relay, 0)).toBe(0);
    expect(watched.table.end).toBe(1);
  });

  test.each(failures)("a descriptor of IPv$family that is taken over is closed if $call fails with $code", (each) => {
    const before = descriptors();
    const fd = bind(each.local);
    failing = each;
    expect(() => watched.take(fd, 0)).toThrow(SystemCallError);
    opened.pop();
    expect(descriptors()).toBe(before);
    expect([...watched.table.roles]).not.toContain(SocketRole.listener);
  });

  test.each(failures)("a descriptor of IPv$family that is lent stays open if $call fails with $code", (each) => {
    const fd = bind(each.local);
    const before = descriptors();
    failing = each;
    expect(() => watched.adopt(fd, 0)).toThrow(SystemCallError);
    expect(descriptors()).toBe(before);
    expect([...watched.table.roles]).not.toContain(SocketRole.listener);
    failing = undefined;
    failed = 0;
    // Its owner may lend it again.
    expect(watched.adopt(fd, 0)).toBe(0);
  });

  test("without an epoll that watches, nothing is left open", () => {
    const before = descriptors();
    failing = { call: "epollCtl", errno: 28 };
    expect(watch).toThrow(/epoll_ctl failed for socket \d+: ENOSPC/);
    expect(descriptors()).toBe(before);
  });
}

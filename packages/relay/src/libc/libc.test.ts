import fc from "fast-check";
import { AddressRegister, type TransportAddress } from "@turnpike/stun";
import { describe, expect, test } from "vitest";
import { Arena } from "./arena.ts";
import * as L from "./layout.ts";
import { describeErrno, type Libc, loadLibc, SystemCallError } from "./libc.ts";
import { testLibc } from "./self-test.ts";
import { readSocketAddress, SOCKADDR_SPACE, writeSocketAddress } from "./socket-address.ts";
import { SocketFactory } from "./sockets.ts";

const LOOPBACK: TransportAddress = { family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0x7f000001, port: 0 };

describe("loadLibc", () => {
  test.each([
    [{ platform: "darwin", architecture: "arm64" }, "not for darwin-arm64"],
    [{ platform: "linux", architecture: "arm64" }, "not for linux-arm64"],
    [{ platform: "linux", architecture: "x64", library: "libc.musl-x86_64.so.1" }, "the C library is not glibc"],
  ])("says why %o is refused", (options, reason) => {
    expect(loadLibc(options)).toMatchObject({ unavailable: expect.stringContaining(reason) });
  });

  test("error numbers are told in words", () => {
    expect([describeErrno(L.EADDRINUSE), describeErrno(99_999)]).toEqual([
      `EADDRINUSE (${L.EADDRINUSE})`,
      expect.stringContaining("99999"),
    ]);
  });
});

test("socket addresses come back as they were written", () => {
  const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const port = fc.integer({ min: 0, max: 65_535 });
  const ipv4 = fc
    .record({ w3: word, port })
    .map((given) => ({ family: 4 as const, w0: 0, w1: 0, w2: 0xffff, ...given }));
  const ipv6 = fc.record({ family: fc.constant(6 as const), w0: word, w1: word, w2: word, w3: word, port });
  const words = new Int32Array(SOCKADDR_SPACE / 4 + 2);
  fc.assert(
    fc.property(fc.oneof(ipv4, ipv6), (address) => {
      words.fill(-1);
      const length = writeSocketAddress(words, 4, address);
      expect(length).toBe(address.family === 4 ? 16 : 28);
      expect([words[0], words[words.length - 1]]).toEqual([-1, -1]);
      const read = new AddressRegister();
      expect(readSocketAddress(words, 4, read)).toBe(true);
      expect(read).toMatchObject(address);
    }),
  );
  words.fill(0);
  expect(readSocketAddress(words, 4, new AddressRegister())).toBe(false);
});

const libc = loadLibc();
if (!("unavailable" in libc)) {
  describe("on this machine", () => {
    test("the self-test trusts the calls, aggregates included", () => {
      expect(testLibc(libc)).toMatchObject({ kind: "trusted", aggregates: true });
    });

    test.each<[string, (real: Libc) => Partial<Libc>, string]>([
      [
        "no sockets",
        () => ({ socket: () => -1, errno: () => L.EPERM }),
        "socket failed for a UDP socket of family IPv4",
      ],
      [
        "batches that are cut",
        (real) => ({ sendmmsg: (fd, at, count, flags) => real.sendmmsg(fd, at, count - 1, flags) }),
        "a batch of 4 was sent as 3",
      ],
      [
        "batches that never arrive",
        () => ({ recvmmsg: () => -1, errno: () => L.EAGAIN }),
        "of a batch of 4, -1 arrived: EAGAIN",
      ],
      [
        "addresses of a wrong layout",
        (real) => ({ getsockname: (fd, at) => real.getsockname(fd, at + 4, at + 64) }),
        "failed|elsewhere",
      ],
    ])("is not trusted with %s", (_what, faults, reason) => {
      const result = testLibc({ ...libc, ...faults(libc) });
      expect(result).toMatchObject({ kind: "untrusted", reason: expect.stringMatching(reason) });
    });

    test("aggregates that arrive corrupted are not used, and all else is", () => {
      // A kernel that puts the bytes of one segment in the place of another of the same size.
      const corrupting: Libc = {
        ...libc,
        sendmsg: (fd, message, flags) => {
          const sent = libc.sendmsg(fd, message, flags);
          return sent > 1400 ? sent - 1 : sent;
        },
      };
      expect(testLibc(corrupting)).toMatchObject({
        kind: "trusted",
        aggregates: false,
        aggregatesReason: expect.stringContaining("an aggregate of 5600 bytes was sent as 5599"),
      });
    });

    test("sockets have the buffers, no DF bit, and a reason when they can't be had", () => {
      const factory = new SocketFactory(libc, new Arena(libc, SocketFactory.SCRATCH));
      const socket = factory.open({ local: LOOPBACK });
      expect(socket.local).toMatchObject({ family: 4, w3: 0x7f000001 });
      expect(factory.get(socket.fd, L.IPPROTO_IP, L.IP_MTU_DISCOVER)).toBe(L.PMTUDISC_DONT);
      // The kernel doubles what is asked, for its own book-keeping.
      expect(factory.get(socket.fd, L.SOL_SOCKET, L.SO_RCVBUF)).toBeGreaterThanOrEqual(212_992);
      expect(() => factory.open({ local: socket.local })).toThrow(/bind failed .*EADDRINUSE/);
      const shared = factory.open({ local: LOOPBACK, reusePort: true });
      const other = factory.open({ local: shared.local, reusePort: true });
      expect(other.local).toEqual(shared.local);
      const connected = factory.open({ local: LOOPBACK, remote: socket.local });
      for (const { fd } of [socket, shared, other, connected]) libc.close(fd);
      expect(() => factory.localAddress(socket.fd)).toThrow(SystemCallError);
    });

    test("an arena that is full says so", () => {
      const arena = new Arena(libc, 128);
      expect([arena.reserve(1), arena.reserve(64)]).toEqual([0, 64]);
      expect(arena.address % 64).toBe(0);
      expect(() => arena.reserve(1)).toThrow("The arena is full");
    });
  });
}

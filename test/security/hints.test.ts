import { type Dialer, type DialTarget, Connector, ConnectError, type Resolver } from "@turnpike/hints";
import { describe, expect, it } from "vitest";

// Row 23 of the threat model: what a hostile hint, list of hints, or name server could do.

function watched(names: readonly string[] = []) {
  const dialled: DialTarget[] = [];
  const asked: string[] = [];
  const dialer: Dialer = {
    dial(target) {
      dialled.push(target);
      return Promise.reject(new Error("connect ECONNREFUSED"));
    },
  };
  const resolver: Resolver = {
    resolve(name, { family }) {
      asked.push(name);
      return Promise.resolve(names.filter((address) => address.includes(":") === (family === 6)));
    },
  };
  return { dialled, asked, dialer, resolver };
}

async function tryHints(connector: Connector, hints: readonly string[]): Promise<ConnectError> {
  try {
    await connector.connect({ hints });
  } catch (error) {
    if (error instanceof ConnectError) return error;
    throw error;
  }
  throw new Error("connected");
}

describe("hostile hints", () => {
  it("no text makes the parser backtrack: each of a megabyte is refused unread", async () => {
    const { dialer, resolver, dialled, asked } = watched();
    const hints = [
      `tcp:${"a.".repeat(500_000)}:1`,
      `${"1.".repeat(500_000)}:1`,
      `tcp:${"a-".repeat(500_000)}:`,
      ":".repeat(1_000_000),
      `tcp:[${":".repeat(1_000_000)}`,
      `turnpike://${"a".repeat(1_000_000)}`,
    ];
    const { failures } = await tryHints(new Connector({ dialer, resolver }), hints);
    expect(failures.map(({ cause }) => cause)).toEqual(hints.map(() => expect.objectContaining({ code: "too-long" })));
    expect([dialled, asked]).toEqual([[], []]);
  });

  it("a name of the greatest length and of any depth costs one look-up for each family", async () => {
    const { dialer, resolver, asked } = watched(["8.8.8.8"]);
    const name = `${"a.".repeat(118)}example`;
    await tryHints(new Connector({ dialer, resolver }), [`tcp:${name}:1`]);
    expect(asked).toEqual([name, name]);
  });

  it("of 10,000 hints sixteen are tried", async () => {
    const { dialer, resolver, dialled } = watched();
    const hints = Array.from({ length: 10_000 }, (_, index) => `tcp:8.${index >> 8}.${index & 255}.1:1`);
    const { failures } = await tryHints(new Connector({ dialer, resolver }), hints);
    expect(dialled).toHaveLength(16);
    expect(failures.length).toBeLessThan(100);
  });

  it("loopback and its other spellings are not reached", async () => {
    const { dialer, resolver, dialled } = watched();
    const hosts = ["127.0.0.1", "127.1", "0", "0x7f000001", "2130706433", "localhost", "a.localhost", "[::1]", "[::]"];
    const more = ["[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::1]", "0.0.0.0"];
    await tryHints(
      new Connector({ dialer, resolver }),
      [...hosts, ...more].map((host) => `tcp:${host}:22`),
    );
    expect(dialled).toEqual([]);
  });

  it("a name that leads to private addresses leads nowhere, even where hints may spell them", async () => {
    const inside = [
      "127.0.0.1",
      "10.0.0.1",
      "192.168.1.1",
      "169.254.169.254",
      "100.64.0.1",
      "::1",
      "fd00::1",
      "::ffff:10.0.0.1",
    ];
    const { dialer, resolver, dialled } = watched(inside);
    for (const privateAddresses of ["refused", "literal"] as const) {
      const connector = new Connector({ dialer, resolver, policy: { privateAddresses } });
      const error = await tryHints(connector, ["tcp:rebinding.example.org:80", "wss:rebinding.example.org:443/x"]);
      expect(error.cause).toMatchObject({ code: "address-refused" });
    }
    expect(dialled).toEqual([]);
  });

  it("a newline, a terminal escape or a proxy option is refused, and not printed", async () => {
    const { dialer, resolver, dialled, asked } = watched(["8.8.8.8"]);
    const { message } = await tryHints(new Connector({ dialer, resolver }), [
      "tcp:a.example:80\r\nX-Header: y",
      "tcp:a.example\u0000:80",
      "tcp:\u001b[2Ja.example:80",
      "tor:a.example:80:socksProxy=attacker.example:1234",
      "tcp:a.example:80:proxy=attacker.example:1234",
      "wss:a.example:443@attacker.example:1/x",
      "wss:a.example:443/x#y",
    ]);
    for (const mark of ["\u0000", "\u001b", "\r"]) expect(message).not.toContain(mark);
    expect([dialled, asked]).toEqual([[], []]);
  });

  it("Tor away is an error, never a direct connection", async () => {
    const { dialer, resolver, dialled, asked } = watched(["8.8.8.8"]);
    const connector = new Connector({ dialer, resolver, tcp: "tor" });
    const { cause } = await tryHints(connector, ["tcp:a.example:80"]);
    expect(cause).toMatchObject({ name: "TorUnavailableError" });
    expect(dialled).toEqual([
      { kind: "tcp", address: "127.0.0.1", port: 9050 },
      { kind: "tcp", address: "127.0.0.1", port: 9150 },
    ]);
    expect(asked).toEqual([]);
    await connector.close();
  });
});

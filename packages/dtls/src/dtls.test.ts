import { execFileSync } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import {
  connectDtls,
  type DtlsClientOptions,
  DtlsServer,
  type DtlsSession,
  isClientHello,
  loadOpenSsl,
  MAX_DTLS_PAYLOAD,
} from "./index.ts";

const directory = mkdtempSync(join(tmpdir(), "turnpike-dtls-"));
afterAll(() => rmSync(directory, { recursive: true }));

const found = loadOpenSsl();
if ("unavailable" in found) throw new Error(found.unavailable);
const openSsl = found;
const first = createCertificate("first");
const second = createCertificate("second");
const ADDRESS = Buffer.from("192.0.2.1:1234");

function createCertificate(name: string): { readonly cert: Uint8Array; readonly key: Uint8Array } {
  const [cert, key] = [join(directory, `${name}.pem`), join(directory, `${name}.key`)];
  const subject = ["-subj", "/CN=relay.example", "-addext", "subjectAltName=DNS:relay.example,IP:192.0.2.7"];
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
  execFileSync(
    "openssl",
    ["req", "-x509", ...curve, "-nodes", "-keyout", key, "-out", cert, "-days", "2", ...subject],
    {
      stdio: "ignore",
    },
  );
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

/** Both ends, with all datagrams between them in two queues. */
class Pair {
  readonly server: DtlsServer;
  readonly toServer: Uint8Array[] = [];
  readonly toClient: Uint8Array[] = [];
  readonly atServer: string[] = [];
  readonly atClient: string[] = [];
  readonly client: DtlsSession;
  session: DtlsSession | undefined;
  address: Uint8Array = ADDRESS;

  constructor(options: Partial<DtlsClientOptions> & { readonly serves?: readonly string[] } = {}) {
    const { serves, ...more } = options;
    this.server = new DtlsServer({
      openSsl,
      ...first,
      cookieKey: randomBytes(32),
      ...(serves === undefined ? {} : { applicationProtocols: serves }),
    });
    this.client = connectDtls({
      openSsl,
      host: "relay.example",
      ca: [first.cert],
      ...more,
      user: {
        send: (datagram) => this.toServer.push(datagram.slice()),
        receive: (bytes) => this.atClient.push(Buffer.from(bytes).toString("latin1")),
      },
    });
  }

  /** Delivers until nothing is on its way. */
  run(): this {
    while (this.toServer.length + this.toClient.length > 0) {
      for (const datagram of this.toServer.splice(0)) this.deliver(datagram);
      for (const datagram of this.toClient.splice(0)) this.client.handleDatagram(datagram);
    }
    return this;
  }

  deliver(datagram: Uint8Array): void {
    if (this.session === undefined) {
      this.session = this.server.accept(datagram, this.address, {
        send: (answer) => this.toClient.push(answer.slice()),
        receive: (bytes) => this.atServer.push(Buffer.from(bytes).toString("latin1")),
      });
    } else {
      this.session.handleDatagram(datagram);
    }
  }
}

describe("DTLS on the OpenSSL of the node binary", () => {
  test.each(["relay.example", "192.0.2.7"])(
    "client and server of %s understand each other, and say goodbye",
    (host) => {
      const pair = new Pair({ host }).run();
      expect([pair.client.state, pair.session?.state]).toEqual(["open", "open"]);
      expect(pair.client.send(Buffer.from("hello"))).toBe(true);
      expect(pair.session?.send(Buffer.from("hello yourself"))).toBe(true);
      expect(pair.toServer).toHaveLength(1);
      expect(pair.toClient).toHaveLength(1);
      pair.run();
      expect([pair.atServer, pair.atClient]).toEqual([["hello"], ["hello yourself"]]);
      pair.client.close();
      pair.run();
      expect([pair.client.state, pair.session?.state, pair.session?.error]).toEqual(["ended", "ended", undefined]);
      expect(pair.client.send(Buffer.from("late"))).toBe(false);
    },
  );

  test("records go whole or not at all", () => {
    const pair = new Pair().run();
    expect(pair.client.send(Buffer.alloc(MAX_DTLS_PAYLOAD, "x"))).toBe(true);
    expect(pair.client.send(Buffer.alloc(MAX_DTLS_PAYLOAD + 1))).toBe(false);
    expect(pair.toServer).toHaveLength(1);
    pair.run();
    expect(pair.atServer[0]).toHaveLength(MAX_DTLS_PAYLOAD);
  });

  test("no datagram of a handshake is larger than 1,200 bytes", () => {
    const pair = new Pair();
    const sizes: number[] = [];
    while (pair.toServer.length + pair.toClient.length > 0) {
      sizes.push(...[...pair.toServer, ...pair.toClient].map(({ length }) => length));
      for (const datagram of pair.toServer.splice(0)) pair.deliver(datagram);
      for (const datagram of pair.toClient.splice(0)) pair.client.handleDatagram(datagram);
    }
    expect(pair.client.state).toBe("open");
    expect(Math.max(...sizes)).toBeLessThanOrEqual(1200);
  });

  test("security case 9: without a valid cookie there is no session, and the answer is shorter than the question", () => {
    const pair = new Pair();
    const [hello = Buffer.alloc(0)] = pair.toServer;
    expect(isClientHello(hello)).toBe(true);
    for (let attempt = 0; attempt < 1000; attempt++) {
      pair.deliver(hello);
      expect(pair.session).toBeUndefined();
    }
    expect(pair.toClient).toHaveLength(1000);
    expect(Math.max(...pair.toClient.map(({ length }) => length))).toBeLessThan(hello.length);
    pair.toServer.length = 0;
    pair.client.handleDatagram(pair.toClient[0] ?? hello);
    const [withCookie = hello] = pair.toServer.splice(0);
    // The cookie of one address is of no use from another.
    pair.address = Buffer.from("192.0.2.2:1234");
    pair.deliver(withCookie);
    expect(pair.session).toBeUndefined();
    pair.address = ADDRESS;
    pair.deliver(withCookie);
    expect(pair.session?.state).toBe("handshaking");
  });

  test("rubbish gets no answer and makes no session", () => {
    const pair = new Pair();
    const [hello = Buffer.alloc(0)] = pair.toServer.splice(0);
    const rubbish = [
      ...Array.from({ length: hello.length }, (_, length) => hello.subarray(0, length)),
      Buffer.alloc(2000, 0x16),
      randomBytes(300),
    ];
    for (const datagram of rubbish) pair.deliver(datagram);
    expect(pair.session).toBeUndefined();
    expect(pair.toClient).toEqual([]);
    pair.toServer.push(hello);
    expect(pair.run().client.state).toBe("open");
    pair.session?.handleDatagram(randomBytes(100));
    pair.client.send(Buffer.from("still there"));
    expect(pair.run().atServer).toEqual(["still there"]);
  });

  test("a certificate of another name, or of nobody that is trusted, ends the handshake", () => {
    const cases = [
      { options: { host: "other.example" }, problem: "hostname mismatch" },
      { options: { host: "192.0.2.8" }, problem: "IP address mismatch" },
      { options: { ca: [second.cert] }, problem: /self-signed certificate|unable to get/ },
    ];
    for (const { options, problem } of cases) {
      const { client, session } = new Pair(options).run();
      expect(client.state).toBe("ended");
      expect(client.error).toContain("certificate verify failed");
      expect(client.certificateProblem).toMatch(problem);
      expect(session?.state).toBe("ended");
    }
  });

  test("an open session says what protects it, and whose certificate that is", () => {
    const { client } = new Pair({ ca: [second.cert], rejectUnauthorized: false });
    expect([client.security, client.peerCertificate]).toEqual([undefined, undefined]);
    const pair = new Pair({ ca: [second.cert], rejectUnauthorized: false }).run();
    expect(pair.client.security).toEqual({
      protocol: "DTLSv1.2",
      cipher: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
      applicationProtocol: undefined,
    });
    const { fingerprint256 } = new X509Certificate(first.cert);
    expect(new X509Certificate(pair.client.peerCertificate ?? "").fingerprint256).toBe(fingerprint256);
    expect(pair.session?.peerCertificate).toBeUndefined();
  });

  test.each([
    { offers: ["stun.turn"], serves: ["stun.turn", "stun.nat-discovery"], agreed: "stun.turn" },
    { offers: ["h2", "stun.nat-discovery"], serves: ["stun.turn", "stun.nat-discovery"], agreed: "stun.nat-discovery" },
    { offers: ["stun.nat-discovery", "stun.turn"], serves: ["stun.turn", "stun.nat-discovery"], agreed: "stun.turn" },
    { offers: [], serves: ["stun.turn"], agreed: undefined },
    { offers: ["stun.turn"], serves: [], agreed: undefined },
  ])("RFC 7443: $offers at a server of $serves agree on $agreed", ({ offers, serves, agreed }) => {
    const pair = new Pair({ applicationProtocols: offers, serves }).run();
    const seen = [pair.client, pair.session].map((each) => each?.security?.applicationProtocol);
    expect([pair.client.state, ...seen]).toEqual(["open", agreed, agreed]);
  });

  test("RFC 7301 §3.2: who offers other protocols only is turned away by an alert", () => {
    const pair = new Pair({ applicationProtocols: ["h2", "stun.turning"], serves: ["stun.turn"] }).run();
    expect(pair.client.state).toBe("ended");
    expect(pair.client.error).toContain("no application protocol");
    expect(pair.client.certificateProblem).toBeUndefined();
    expect(pair.session?.state).toBe("ended");
    for (const name of ["", "x".repeat(256)]) {
      expect(() => new Pair({ applicationProtocols: [name] })).toThrow("Cannot use application protocol");
    }
  });

  test("another certificate is for new sessions; one that doesn't fit is refused", () => {
    const pair = new Pair({ ca: [second.cert] });
    pair.server.setCertificate(second.cert, second.key);
    expect(() => pair.server.setCertificate(first.cert, second.key)).toThrow("Cannot use the certificate for DTLS");
    expect(pair.run().client.state).toBe("open");
  });

  test("a flight that waits for an answer has a time-out", () => {
    const pair = new Pair();
    expect(pair.client.timeoutMs()).toBeGreaterThan(0);
    expect(pair.run().client.timeoutMs()).toBeUndefined();
  });

  test("where OpenSSL can't be reached, it says so", () => {
    expect(loadOpenSsl({ library: "libc.so.6" })).toMatchObject({ unavailable: expect.stringContaining("OpenSSL") });
    const loadKoffi = (): never => {
      throw new Error("not installed");
    };
    expect(loadOpenSsl({ loadKoffi })).toMatchObject({ unavailable: expect.stringContaining("not installed") });
  });
});

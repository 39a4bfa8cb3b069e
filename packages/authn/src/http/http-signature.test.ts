import { createPublicKey, createSecretKey, generateKeyPairSync } from "node:crypto";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OperationContext } from "../core/operation-context.ts";
import { httpRequest } from "../testing/http-request.ts";
import { ManualClock } from "../testing/manual-clock.ts";
import { type HttpSignatureOptions, HttpSignatureScheme, type SignatureKey } from "./http-signature.ts";
import { contentDigest, parseSignatures, type SignOptions, signRequest, verifySignature } from "./message-signature.ts";
import { MemoryNonceStore } from "./nonce-store.ts";
import type { HttpRequest } from "./request.ts";

const ctx = OperationContext.internal("test");
const actor = { kind: "service", id: "shop", roles: [] } as const;
const ed25519 = generateKeyPairSync("ed25519");
const secret = createSecretKey(Buffer.from("0123456789abcdef0123456789abcdef"));
const KEYS: Readonly<Record<string, SignatureKey>> = {
  ed: { algorithm: "ed25519", key: ed25519.publicKey, actor },
  mac: { algorithm: "hmac-sha256", key: secret, actor },
};
const COMPONENTS = ["@method", "@authority", "@path", "@query"];
const START_SECONDS = 1_700_000_000;

interface Given {
  readonly keyid?: "ed" | "mac";
  readonly request?: Partial<HttpRequest>;
  readonly components?: readonly string[];
  readonly parameters?: SignOptions["parameters"];
}

function signed({ keyid = "ed", request = {}, components = COMPONENTS, parameters = {} }: Given = {}): HttpRequest {
  const unsigned = httpRequest({ target: "/v1/relays?limit=2", ...request });
  const fields = signRequest(unsigned, {
    algorithm: keyid === "ed" ? "ed25519" : "hmac-sha256",
    key: keyid === "ed" ? ed25519.privateKey : secret,
    components,
    parameters: { created: START_SECONDS, keyid, nonce: "nonce-0001", ...parameters },
  });
  return { ...unsigned, headers: { ...unsigned.headers, ...fields } };
}

function setUp(options: Partial<HttpSignatureOptions> = {}): {
  clock: ManualClock;
  scheme: HttpSignatureScheme;
  kindFor: (request: HttpRequest) => Promise<string>;
} {
  const clock = new ManualClock({ unixMs: START_SECONDS * 1_000 });
  const scheme = new HttpSignatureScheme({ clock, findKey: (_ctx, keyId) => KEYS[keyId], ...options });
  return {
    clock,
    scheme,
    kindFor: async (request) => {
      const result = await scheme.authenticate(ctx, request);
      if (result.kind !== "failed") return result.kind;
      return result.reason.kind === "badFormat" ? result.reason.detail : result.reason.kind;
    },
  };
}

describe("RFC 9421 appendix B.2", () => {
  const request = httpRequest({
    method: "POST",
    authority: "example.com",
    target: "/foo?param=Value&Pet=dog",
    headers: {
      date: "Tue, 20 Apr 2021 02:07:55 GMT",
      "content-type": "application/json",
      "content-length": "18",
    },
  });
  const parsed = (input: string, signature: string) => {
    const headers = { ...request.headers, "signature-input": input, signature };
    const signatures = parseSignatures({ ...request, headers }, { maxSignatures: 1 });
    if (typeof signatures === "string") throw new Error(signatures);
    const [first] = signatures;
    if (first === undefined) throw new Error("no signature");
    return first;
  };

  test("B.2.5: HMAC-SHA-256", () => {
    const key = createSecretKey(
      "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==",
      "base64",
    );
    const signature = parsed(
      'sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"',
      "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    );
    expect(verifySignature(signature, { algorithm: "hmac-sha256", key })).toBe(true);
    const changed = { ...signature, base: `${signature.base} ` };
    expect(verifySignature(changed, { algorithm: "hmac-sha256", key })).toBe(false);
  });

  test("B.2.6: Ed25519", () => {
    const key = createPublicKey({
      key: Buffer.from("MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=", "base64"),
      format: "der",
      type: "spki",
    });
    const signature = parsed(
      'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
      "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
    );
    expect(verifySignature(signature, { algorithm: "ed25519", key })).toBe(true);
    const signatureBytes = Uint8Array.from(signature.signature).with(0, 0);
    expect(verifySignature({ ...signature, signature: signatureBytes }, { algorithm: "ed25519", key })).toBe(false);
  });
});

describe("RFC 9421 §2.2: derived components", () => {
  test.each([
    ["@method", "GET"],
    ["@target-uri", "https://portal.example.org/v1/x%20y?a=b&c=d%20e"],
    ["@authority", "portal.example.org"],
    ["@scheme", "https"],
    ["@request-target", "/v1/x%20y?a=b&c=d%20e"],
    ["@path", "/v1/x%20y"],
    ["@query", "?a=b&c=d%20e"],
    ["@query-param;c", "d%20e"],
    ["x-list", "a, b"],
    ["x-fold", "one two"],
  ])("%s is %s", (component, value) => {
    const request = httpRequest({
      target: "/v1/x%20y?a=b&c=d%20e",
      headers: { "x-list": [" a", "b "], "x-fold": "one\r\n two" },
    });
    const fields = signRequest(request, {
      algorithm: "hmac-sha256",
      key: secret,
      components: [component],
      parameters: {},
    });
    const parsed = parseSignatures({ ...request, headers: { ...request.headers, ...fields } }, { maxSignatures: 1 });
    if (typeof parsed === "string") throw new Error(parsed);
    const [name, parameter] = component.split(";");
    const identifier = parameter === undefined ? `"${name}"` : `"${name}";name="${parameter}"`;
    expect(parsed[0]?.base.split("\n")[0]).toBe(`${identifier}: ${value}`);
  });

  test("an absent query is a question mark, and an absent component can't be signed", () => {
    expect(() => signed({ request: { target: "/" } })).not.toThrow();
    expect(() => signed({ components: ["x-absent"] })).toThrow(/"x-absent" is not in the request/);
    expect(() => signed({ components: ["@status"] })).toThrow(/is not in the request/);
    expect(() => signed({ components: ["@query-param;twice"], request: { target: "/?twice=1&twice=2" } })).toThrow();
  });
});

describe("HttpSignatureScheme", () => {
  test.each(["ed", "mac"] as const)("accepts a signature by %s", async (keyid) => {
    const { scheme } = setUp();
    expect(await scheme.authenticate(ctx, signed({ keyid }))).toEqual({
      kind: "authenticated",
      actor,
      details: { credentialId: keyid },
    });
  });

  test("any change of what is covered is noticed", async () => {
    const request = signed();
    const changes: Partial<HttpRequest>[] = [
      { method: "DELETE" },
      { authority: "evil.example.org" },
      { target: "/v1/relays?limit=3" },
      { target: "/v1/tokens?limit=2" },
      { headers: { ...request.headers, signature: "sig=:AAAA:" } },
      {
        headers: {
          ...request.headers,
          "signature-input": String(request.headers["signature-input"]).replace("nonce-0001", "nonce-0002"),
        },
      },
    ];
    for (const change of changes) {
      const { kindFor } = setUp();
      expect(await kindFor({ ...request, ...change })).toBe("badCredentials");
    }
  });

  test("a nonce is good once within the window, and the window ends before it is forgotten", async () => {
    const { clock, kindFor } = setUp();
    const request = signed({ parameters: { created: START_SECONDS + 20 } });
    expect(await kindFor(request)).toBe("authenticated");
    for (let second = 0; second < 400; second += 10) {
      expect(await kindFor(request)).toBe(second < 320 ? "badCredentials" : "expired");
      clock.advance(10_000);
    }
  });

  test.each<[string, Given, string]>([
    ["too old", { parameters: { created: START_SECONDS - 300 } }, "expired"],
    ["just young enough", { parameters: { created: START_SECONDS - 299 } }, "authenticated"],
    ["a little ahead", { parameters: { created: START_SECONDS + 30 } }, "authenticated"],
    ["of the future", { parameters: { created: START_SECONDS + 31 } }, "badCredentials"],
    ["expired", { parameters: { expires: START_SECONDS } }, "expired"],
    ["of an unknown key", { parameters: { keyid: "other" } }, "unknownActor"],
    ["of the right algorithm", { parameters: { alg: "ed25519" } }, "authenticated"],
    ["of another algorithm", { parameters: { alg: "hmac-sha256" } }, "badCredentials"],
    ["with a short nonce", { parameters: { nonce: "x" } }, "the signature has no nonce of 8 to 128 characters"],
    ["without method", { components: ["@target-uri"] }, 'the signature does not cover "@method"'],
    ["of the target URI", { components: ["@method", "@target-uri"] }, "authenticated"],
    ["of the request target", { components: ["@method", "@authority", "@request-target"] }, "authenticated"],
    [
      "without the query",
      { components: ["@method", "@authority", "@path"] },
      'the signature does not cover the target: "@target-uri", or "@authority", "@path" and "@query"',
    ],
  ])("a signature %s: %s", async (_, given, expected) => {
    expect(await setUp().kindFor(signed(given))).toBe(expected);
  });

  test("a body must be covered, and be the one that was covered", async () => {
    const body = Buffer.from('{"ttl":60}');
    const headers = { "content-length": String(body.length), "content-digest": contentDigest(body) };
    const components = [...COMPONENTS, "content-digest"];
    const request = { method: "POST", headers, body };
    expect(await setUp().kindFor(signed({ request, components }))).toBe("authenticated");
    expect(await setUp().kindFor(signed({ request }))).toBe('the signature does not cover "content-digest"');
    const other = { ...signed({ request, components }), body: Buffer.from('{"ttl":99}') };
    expect(await setUp().kindFor(other)).toBe("Content-Digest is not that of the body");
    const { body: _, ...unread } = signed({ request, components });
    expect(await setUp().kindFor(unread)).toBe("unavailable");
    const chunked = signed({ request: { method: "POST", headers: { "transfer-encoding": "chunked" } } });
    expect(await setUp().kindFor(chunked)).toMatch(/content-digest/);
  });

  test("fields that the configuration asks for must be covered", async () => {
    const request = { headers: { "x-tenant": "a" } };
    const { kindFor } = setUp({ requiredFields: ["x-tenant"] });
    expect(await kindFor(signed({ request }))).toBe('the signature does not cover "x-tenant"');
    expect(await kindFor(signed({ request, components: [...COMPONENTS, "x-tenant"] }))).toBe("authenticated");
  });

  test("who has no key can't fill the nonces, and who has one fills only its own", async () => {
    const clock = new ManualClock({ unixMs: START_SECONDS * 1_000 });
    const nonces = new MemoryNonceStore({ clock, capacityPerKey: 2 });
    const { kindFor } = setUp({ nonces, clock });
    for (let index = 0; index < 10; index++) {
      const forged = signed({ parameters: { nonce: `forged-${index}`, created: START_SECONDS } });
      await kindFor({ ...forged, method: "DELETE" });
    }
    expect(await kindFor(signed({ parameters: { nonce: "nonce-000a" } }))).toBe("authenticated");
    expect(await kindFor(signed({ parameters: { nonce: "nonce-000b" } }))).toBe("authenticated");
    expect(await kindFor(signed({ parameters: { nonce: "nonce-000c" } }))).toBe("unavailable");
    expect(await kindFor(signed({ keyid: "mac" }))).toBe("authenticated");
    clock.advance(300_000);
    const later = signed({ parameters: { nonce: "nonce-000c", created: START_SECONDS + 300 } });
    expect(await kindFor(later)).toBe("authenticated");
  });

  test.each<[string, HttpRequest["headers"], string]>([
    ["nothing", {}, "notRequested"],
    ["no input", { signature: "a=:AA==:" }, "the field Signature-Input is missing"],
    ["no signature", { "signature-input": "a=()" }, "the field Signature is missing"],
    [
      "rubbish",
      { "signature-input": "%%", signature: "%%" },
      "the signature fields are not structured fields (RFC 9651)",
    ],
    [
      "no list",
      { "signature-input": "a=1", signature: "a=:AA==:" },
      'the signature input "a" is not a list of components',
    ],
    ["no bytes", { "signature-input": "a=()", signature: "a=1" }, 'the signature "a" is missing'],
    ["another label", { "signature-input": "a=()", signature: "b=:AA==:" }, 'the signature "a" is missing'],
    [
      "an unknown flag",
      { "signature-input": 'a=("date";sf)', signature: "a=:AA==:", date: "x" },
      'the component "date" has parameters that are not supported',
    ],
    [
      "a component twice",
      { "signature-input": 'a=("@method" "@method")', signature: "a=:AA==:" },
      'the component "@method" is covered twice',
    ],
    [
      "a name in capitals",
      { "signature-input": 'a=("Date")', signature: "a=:AA==:", date: "x" },
      'the covered component "Date" is not in the request',
    ],
    [
      "a fraction of a second",
      { "signature-input": "a=();created=1.5", signature: "a=:AA==:" },
      "the parameter created is not a whole number",
    ],
    [
      "two",
      { "signature-input": "a=(), b=()", signature: "a=:AA==:, b=:AA==:" },
      "the request has more than one signature",
    ],
    ["endless", { "signature-input": "a".repeat(9_000), signature: "x" }, "the signature fields are too long"],
  ])("%s: %s", async (_, headers, expected) => {
    expect(await setUp().kindFor(httpRequest({ headers }))).toBe(expected);
  });

  test("whatever the fields hold, it answers and never lets in", async () => {
    const { scheme } = setUp();
    const piece = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.constantFrom('sig=("@method")', "sig=:AAAA:", ";created=1", ', a=("'),
    );
    const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""));
    await fc.assert(
      fc.asyncProperty(text, text, async (input, signature) => {
        const result = await scheme.authenticate(
          ctx,
          httpRequest({ headers: { "signature-input": input, signature } }),
        );
        expect(["failed", "notRequested"]).toContain(result.kind);
      }),
    );
  });
});

import { createServer, type Server } from "node:http";
import * as jose from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { NOW, REALM, type RequestOptions, turnRequest } from "../../test/turn-request.ts";
import { Secret } from "../core/secret.ts";
import { sealAccessToken } from "./access-token.ts";
import { createTurnAuthenticator, type TurnAnswer, type TurnAuthenticator } from "./authenticator.ts";
import { oauth, type OauthOptions } from "./oauth.ts";
import type { TurnDecision } from "./request.ts";

const serverName = "relay.example";
const macKey = Uint8Array.from({ length: 32 }, (_, index) => index);
// What turnutils_uclient -J is built with.
const NORTH = "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=";

function authenticatorOf(options: Partial<OauthOptions>): TurnAuthenticator {
  return createTurnAuthenticator({ realm: REALM, schemes: [oauth({ serverName, ...options })] });
}

/** The decision, be it at once or late. */
async function decide(authenticator: TurnAuthenticator, options: RequestOptions): Promise<TurnDecision> {
  const late = new Promise<TurnAnswer>((resolve) => authenticator.onAnswer(resolve));
  const decision = authenticator.authenticate(turnRequest(options));
  return decision.kind === "pending" ? (await late).decision : decision;
}

describe("self-contained tokens", () => {
  const key = new Secret(Buffer.from(NORTH, "base64"));
  const authenticator = authenticatorOf({
    keys: [
      { kid: "north", key },
      { kid: "oldempire", key: NORTH, algorithm: "A128GCM" },
      { kid: "gone", key, expiresAtUnixMs: NOW },
    ],
  });
  const seal = (options: { issuedAtUnixMs?: number; name?: string; short?: boolean } = {}) =>
    sealAccessToken(
      { macKey, issuedAtUnixMs: options.issuedAtUnixMs ?? NOW, lifetimeSeconds: 600 },
      {
        algorithm: options.short === true ? "A128GCM" : "A256GCM",
        key: key.revealBytes().subarray(0, options.short === true ? 16 : 32),
        serverName: options.name ?? serverName,
        nonce: new Uint8Array(12),
      },
    );
  const request: RequestOptions = { username: "north", key: macKey, accessToken: seal() };
  const of = (options: RequestOptions) => authenticator.authenticate(turnRequest({ ...request, ...options }));

  test("prove a session by the key in them", () => {
    expect(of({})).toEqual({
      kind: "authenticated",
      username: "north",
      actor: serverName,
      scheme: "oauth",
      key: macKey,
      expiresAtUnixMs: NOW + 600_000,
      boundsLifetime: true,
      credentialId: expect.stringMatching(/^north\/[\w-]{22}$/u),
    });
    expect(of({ username: "oldempire", accessToken: seal({ short: true }) }).kind).toBe("authenticated");
    expect(of({ passwordAlgorithm: "sha256" }).kind).toBe("authenticated");
    expect(of({ anonymous: true })).toMatchObject({ kind: "authenticated", username: "north" });
    expect(authenticator).toMatchObject({ usernameAnonymity: true, thirdPartyAuthorization: serverName });
  });

  test("count for the actor of their key", () => {
    const keys = [{ kid: "north", key, actor: "Alliance" }];
    const decision = authenticatorOf({ keys }).authenticate(turnRequest(request));
    expect(decision).toMatchObject({ kind: "authenticated", username: "north", actor: "alliance" });
  });

  test("prove a session by what coturn's client takes of a key for SHA-1, and by no less", () => {
    const full = macKey.subarray(0, 20);
    const claims = { macKey: full, issuedAtUnixMs: NOW, lifetimeSeconds: 600 };
    const options = { algorithm: "A256GCM", key: key.revealBytes(), serverName, nonce: new Uint8Array(12) } as const;
    const accessToken = sealAccessToken(claims, options);
    expect(of({ accessToken, key: full })).toMatchObject({ kind: "authenticated", key: full });
    expect(of({ accessToken, key: full.subarray(0, 16) })).toMatchObject({ key: full.subarray(0, 16) });
    expect(of({ accessToken, key: full.subarray(0, 15) })).toMatchObject({ reason: "badCredentials" });
    const sha256 = { accessToken, key: full.subarray(0, 16), passwordAlgorithm: "sha256" } as const;
    expect(of(sha256)).toMatchObject({ reason: "badCredentials" });
    expect(of({ key: macKey.subarray(0, 16) })).toMatchObject({ reason: "badCredentials" });
  });

  test("end with lifetime and Delta", () => {
    expect(of({ unixMs: NOW + 600_000 })).toMatchObject({ kind: "authenticated", expiresAtUnixMs: NOW + 605_000 });
    expect(of({ unixMs: NOW + 604_999 }).kind).toBe("authenticated");
    expect(of({ unixMs: NOW + 605_000 })).toMatchObject({ reason: "expired", actor: "north" });
    expect(of({ unixMs: Number.NaN })).toMatchObject({ reason: "expired" });
    expect(of({ unixMs: NOW - 604_999 }).kind).toBe("authenticated");
    expect(of({ unixMs: NOW - 605_000 })).toMatchObject({ reason: "expired" });
  });

  test.each<[string, RequestOptions, object]>([
    ["no token", { accessToken: undefined! }, { kind: "notRequested" }],
    ["an empty token", { accessToken: new Uint8Array(0) }, { reason: "badFormat" }],
    ["a short token", { accessToken: new Uint8Array(63) }, { reason: "badFormat" }],
    ["a huge token", { accessToken: new Uint8Array(4097) }, { reason: "badFormat" }],
    ["a token for another relay", { accessToken: seal({ name: "other" }) }, { reason: "badCredentials" }],
    ["a token of another key", { username: "oldempire" }, { reason: "badCredentials", actor: "oldempire" }],
    ["an unknown key id", { username: "south" }, { reason: "unknownActor", actor: "south" }],
    ["an unknown key id's hash", { username: "south", anonymous: true }, { reason: "unknownActor" }],
    ["a key that has ended", { username: "gone" }, { reason: "expired", actor: "gone" }],
    ["a message of another session", { key: new Uint8Array(32) }, { reason: "badCredentials", actor: "north" }],
    ["a JSON Web Token", { accessToken: Buffer.from("eyJhbGciOiJub25lIn0.e30.") }, { reason: "unknownActor" }],
  ])("of %s are refused", async (_name, options, expected) => {
    expect(await decide(authenticator, { ...request, ...options })).toMatchObject(expected);
  });

  test.each<[Partial<OauthOptions>, string]>([
    [{}, "needs keys, or jwt"],
    [{ serverName: "", keys: [{ kid: "a", key: NORTH }] }, "serverName must be"],
    [{ keys: [{ kid: "", key: NORTH }] }, "its id is empty"],
    [
      {
        keys: [
          { kid: "a", key: NORTH },
          { kid: "a", key: NORTH, algorithm: "A128GCM" },
        ],
      },
      "listed twice",
    ],
    [{ keys: [{ kid: "a", key: "c2hvcnQ=" }] }, "A256GCM needs 32 bytes"],
  ])("can't be configured as %#", (options, message) => {
    expect(() => authenticatorOf(options)).toThrow(message);
    expect(() => authenticatorOf(options)).toThrow(TypeError);
  });
});

describe("JSON Web Tokens", () => {
  const issuer = "https://issuer.example";
  const relayKey = new Uint8Array(32).fill(9);
  const cnfJwk = { kty: "oct", k: jose.base64url.encode(macKey) };
  let keys: CryptoKeyPair;
  let jwks: jose.JSONWebKeySet;
  let server: Server;
  let url: string;
  let answer: () => { status: number; body: string } = () => ({ status: 200, body: JSON.stringify(jwks) });

  beforeAll(async () => {
    keys = await jose.generateKeyPair("ES256");
    jwks = { keys: [{ ...(await jose.exportJWK(keys.publicKey)), kid: "1", alg: "ES256" }] };
    server = createServer((_request, response) => {
      const { status, body } = answer();
      response.writeHead(status, { "content-type": "application/json" }).end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    url = typeof address === "object" ? `http://127.0.0.1:${String(address?.port)}/jwks` : "";
  });
  afterAll(() => {
    server.close();
  });

  const encrypt = async (text: string, kid = "relay"): Promise<string> =>
    new jose.CompactEncrypt(Buffer.from(text))
      .setProtectedHeader({ alg: "dir", enc: "A256GCM", kid })
      .encrypt(relayKey);
  const sign = async (payload: object, options: { key?: CryptoKey; kid?: string } = {}): Promise<string> =>
    new jose.SignJWT({ iss: issuer, aud: serverName, sub: "Alice", exp: NOW / 1000 + 60, jti: "t1", ...payload })
      .setProtectedHeader({ alg: "ES256", kid: options.kid ?? "1" })
      .sign(options.key ?? keys.privateKey);
  const decryptionKeys = [{ kid: "relay", key: new Secret(relayKey) }];
  const of = async (token: string, options: RequestOptions = {}, from: string | jose.JSONWebKeySet = jwks) =>
    decide(authenticatorOf({ jwt: { issuer, jwks: from, decryptionKeys } }), {
      username: "ignored",
      key: macKey,
      accessToken: Buffer.from(token),
      ...options,
    });

  test("prove a session by the encrypted key in their cnf claim", async () => {
    const token = await sign({ cnf: { jwe: await encrypt(JSON.stringify(cnfJwk)) } });
    const expected = {
      kind: "authenticated",
      username: "ignored",
      actor: "alice",
      scheme: "oauth",
      key: macKey,
      expiresAtUnixMs: NOW + 60_000,
      boundsLifetime: true,
      credentialId: "t1",
    };
    expect(await of(token)).toEqual(expected);
    expect(await of(token, {}, url)).toEqual(expected);
    expect(await of(token, { anonymous: true })).toMatchObject({ kind: "authenticated", username: "Alice" });
  });

  test("prove a session by the key in a token that is encrypted as a whole", async () => {
    const token = await encrypt(await sign({ cnf: { jwk: cnfJwk } }));
    expect(await of(token)).toMatchObject({ kind: "authenticated", actor: "alice" });
  });

  test("are verified by keys that OpenID Connect Discovery finds", async () => {
    const issuer = new URL(url).origin;
    const token = await sign({ iss: issuer, cnf: { jwe: await encrypt(JSON.stringify(cnfJwk)) } });
    const documents = [JSON.stringify({ issuer, jwks_uri: url }), JSON.stringify(jwks)];
    answer = () => ({ status: 200, body: documents.shift() ?? "" });
    const decision = await decide(authenticatorOf({ jwt: { issuer, decryptionKeys } }), {
      username: "ignored",
      key: macKey,
      accessToken: Buffer.from(token),
    });
    expect(decision).toMatchObject({ kind: "authenticated", actor: "alice" });
    expect(documents).toEqual([]);
  });

  test("are refused if they are not the issuer's, not for this relay, over, or readable on the way", async () => {
    const jwe = await encrypt(JSON.stringify(cnfJwk));
    const cnf = { jwe };
    const stranger = await jose.generateKeyPair("ES256");
    const hmac = await new jose.SignJWT({ iss: issuer, aud: serverName, sub: "a", exp: NOW, cnf })
      .setProtectedHeader({ alg: "HS256", kid: "1" })
      .sign(relayKey);
    const refused: readonly (readonly [Promise<string>, object])[] = [
      [sign({ cnf }, { key: stranger.privateKey }), { reason: "badCredentials" }],
      [sign({ cnf }, { kid: "2" }), { reason: "badCredentials" }],
      [sign({ cnf, iss: "https://other.example" }), { reason: "badCredentials" }],
      [sign({ cnf, aud: "other.example" }), { reason: "badCredentials" }],
      [sign({ cnf, exp: NOW / 1000 - 5 }), { reason: "expired" }],
      [sign({ cnf, nbf: NOW / 1000 + 60 }), { reason: "badCredentials" }],
      [sign({ cnf, exp: undefined }), { reason: "badCredentials" }],
      [sign({ cnf, sub: undefined }), { reason: "badCredentials" }],
      [sign({ cnf, sub: "" }), { reason: "badCredentials" }],
      [sign({}), { reason: "badCredentials" }],
      [sign({ cnf: { jwk: cnfJwk } }), { reason: "badCredentials" }],
      [sign({ cnf: { jwe: "rubbish" } }), { kind: "failed" }],
      [sign({ cnf: { jwe: await encrypt("rubbish") } }), { reason: "badCredentials" }],
      [sign({ cnf: { jwe: await encrypt('{"kty":"oct","k":"AAAA"}') } }), { reason: "badCredentials" }],
      [sign({ cnf: { jwe: await encrypt(JSON.stringify(cnfJwk), "other") } }), { reason: "badCredentials" }],
      [Promise.resolve(hmac), { reason: "badCredentials" }],
      [
        Promise.resolve(`eyJhbGciOiJub25lIn0.${(await sign({ cnf })).split(".")[1] ?? ""}.`),
        { reason: "badCredentials" },
      ],
      [Promise.resolve("eyJ"), { reason: "badFormat" }],
      [Promise.resolve("eyJ.eyJ.eyJ"), { reason: "badFormat" }],
      [Promise.resolve("eyJ....."), { reason: "badFormat" }],
    ];
    for (const [token, expected] of refused) {
      expect(await of(await token), await token).toMatchObject({ kind: "failed", ...expected });
    }
    const token = await sign({ cnf });
    expect(await of(token, { key: new Uint8Array(32) })).toMatchObject({ reason: "badCredentials", actor: "alice" });
  });

  test("are neither right nor wrong while the issuer's keys can't be had", async () => {
    const token = await sign({ cnf: { jwe: await encrypt(JSON.stringify(cnfJwk)) } });
    const unavailable = { kind: "failed", reason: "unavailable", scheme: "oauth" };
    expect(await of(token, {}, "http://127.0.0.1:1/jwks")).toEqual(unavailable);
    answer = () => ({ status: 500, body: "" });
    expect(await of(token, {}, url)).toEqual(unavailable);
    answer = () => ({ status: 200, body: "rubbish" });
    expect(await of(token, {}, url)).toEqual(unavailable);
    answer = () => ({ status: 200, body: '{"keys":7}' });
    expect(await of(token, {}, url)).toEqual(unavailable);
  });

  test("can't be configured without a key of their own, or with signatures that anybody can make", () => {
    const jwt = { issuer, jwks, decryptionKeys };
    expect(() => authenticatorOf({ jwt: { ...jwt, decryptionKeys: [] } })).toThrow("decryptionKeys");
    expect(() => authenticatorOf({ jwt: { ...jwt, algorithms: ["HS256"] } })).toThrow("algorithms");
    expect(() => authenticatorOf({ jwt: { ...jwt, algorithms: [] } })).toThrow("algorithms");
    expect(() => authenticatorOf({ jwt: { ...jwt, jwks: "http://issuer.example/jwks" } })).toThrow("https");
  });
});

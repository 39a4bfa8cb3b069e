import { readdirSync, readFileSync } from "node:fs";
import {
  attributes,
  channelNumber,
  data,
  decodeChannelData,
  decodeMessage,
  encodeMessage,
  errorCode,
  getAttribute,
  hasAttribute,
  iceControlling,
  isChannelData,
  lifetime,
  longTermKey,
  nonce,
  rawAttribute,
  realm,
  requestedTransport,
  scanSendIndication,
  SendIndicationView,
  type StunMessage,
  transportProtocols,
  useCandidate,
  username,
  verifyIntegrity,
  writeDataIndicationHeader,
  xorMappedAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import { describe, expect, test } from "vitest";

const directory = new URL("browser/", import.meta.url);
const names = readdirSync(directory)
  .filter((file) => file.endsWith(".hex"))
  .map((file) => file.slice(0, -".hex".length));
const stunNames = names.filter((name) => name !== "channel-data");

const key = longTermKey({
  algorithm: "md5",
  username: "user",
  realm: "turnpike.test",
  password: "password",
  crypto: nodeCrypto,
});

describe("captured messages", () => {
  test("there are fourteen", () => {
    expect(names).toHaveLength(14);
  });

  test.each(stunNames)("%s comes out of the encoder as it went into the decoder", (name) => {
    const message = decode(name);
    const [integrity, checksum] = [attributes.messageIntegrity.number, attributes.fingerprint.number];
    const plain = message.attributes.filter(({ type }) => type !== integrity && type !== checksum);
    const authenticated = verifyIntegrity(message, { algorithm: "sha1", key, crypto: nodeCrypto });
    const kept = authenticated ? plain : message.attributes.filter(({ type }) => type !== checksum);
    const { methodName } = message;
    if (methodName === undefined) throw new Error("unknown method");
    const parts = {
      class: message.class,
      method: methodName,
      transactionId: message.transactionId,
      attributes: kept.map(({ type, value }) => rawAttribute(type, value)),
      fingerprint: message.hasFingerprint,
    };
    const encoded = encodeMessage(
      authenticated ? { ...parts, integrity: { algorithm: "sha1", key, crypto: nodeCrypto } } : parts,
    );
    expect(Buffer.from(encoded).toString("hex")).toBe(Buffer.from(message.bytes).toString("hex"));
  });

  test.each([
    "allocate-request-authenticated",
    "refresh-request",
    "create-permission-request",
    "channel-bind-request",
    "server-allocate-success",
  ])("%s verifies with the long-term key, and with no other", (name) => {
    const message = decode(name);
    expect(verifyIntegrity(message, { algorithm: "sha1", key, crypto: nodeCrypto })).toBe(true);
    expect(verifyIntegrity(message, { algorithm: "sha1", key: new Uint8Array(16), crypto: nodeCrypto })).toBe(false);
  });
});

describe("what they say", () => {
  test("Chromium's Allocate: UDP, first without credentials, then with those of the challenge", () => {
    const challenge = decode("server-allocate-error-401");
    expect(getAttribute(challenge, errorCode)).toEqual({ ok: true, value: { code: 401, reason: "Unauthorized" } });
    for (const name of ["allocate-request", "allocate-request-authenticated"]) {
      expect(getAttribute(decode(name), requestedTransport)).toEqual({ ok: true, value: transportProtocols.udp });
    }
    const retry = decode("allocate-request-authenticated");
    expect(getAttribute(retry, username)).toEqual({ ok: true, value: "user" });
    expect(getAttribute(retry, realm)).toEqual({ ok: true, value: "turnpike.test" });
    expect(getAttribute(retry, nonce)).toEqual(getAttribute(challenge, nonce));
    expect(retry.transactionId).not.toEqual(challenge.transactionId);
  });

  test("coturn's answers: addresses on loopback, a lifetime", () => {
    const allocated = decode("server-allocate-success");
    for (const codec of [xorRelayedAddress, xorMappedAddress]) {
      expect(getAttribute(allocated, codec)).toMatchObject({ ok: true, value: { family: 4, w3: 0x7f000001 } });
    }
    expect(getAttribute(allocated, lifetime)).toEqual({ ok: true, value: 600 });
    expect(getAttribute(decode("server-binding-success"), xorMappedAddress)).toMatchObject({
      value: { w3: 0x7f000001 },
    });
  });

  test("Chromium's channel is of RFC 8656's range, and its ChannelData over UDP isn't padded", () => {
    const bound = getAttribute(decode("channel-bind-request"), channelNumber);
    expect(bound).toEqual({ ok: true, value: 0x4000 });
    const bytes = read("channel-data");
    expect(isChannelData(bytes[0] ?? 0)).toBe(true);
    const result = decodeChannelData(bytes);
    expect(result).toMatchObject({ ok: true, value: { channel: 0x4000, dataLength: bytes.length - 4 } });
  });

  test("the fast paths read the Send indication and write the Data indication", () => {
    const bytes = read("send-indication");
    const view = new SendIndicationView();
    expect(scanSendIndication(bytes, 0, bytes.length, view)).toBe(true);
    const slow = getAttribute(decode("send-indication"), data);
    expect(slow?.ok === true && [...slow.value]).toEqual([
      ...bytes.subarray(view.dataOffset, view.dataOffset + view.dataLength),
    ]);

    const indication = decode("server-data-indication");
    const [peer, payload] = [getAttribute(indication, xorPeerAddress), getAttribute(indication, data)];
    if (peer?.ok !== true || payload?.ok !== true) throw new Error("no peer or no data");
    const buffer = new Uint8Array(48 + payload.value.length + 4);
    buffer.set(payload.value, 48);
    const id = indication.transactionId;
    const start = writeDataIndicationHeader(buffer, 48, payload.value.length, peer.value, id);
    const built = decodeMessage(buffer, start, 48 - start + Math.ceil(payload.value.length / 4) * 4);
    expect(built.ok && getAttribute(built.message, xorPeerAddress)).toEqual(peer);
    expect(built.ok && getAttribute(built.message, data)).toEqual(payload);
  });

  test("a connectivity check: ICE attributes, one of Chromium's own, a right FINGERPRINT", () => {
    const check = decode("ice-binding-request");
    expect(check.hasFingerprint).toBe(true);
    expect(getAttribute(check, iceControlling)).toMatchObject({ ok: true });
    expect(hasAttribute(check, useCandidate)).toBe(true);
    expect(check.attributes.map(({ type }) => type)).toContain(0xc057);
    expect(getAttribute(decode("ice-binding-response"), xorMappedAddress)).toMatchObject({ ok: true });
  });
});

function read(name: string): Uint8Array {
  return Uint8Array.from(
    Buffer.from(readFileSync(new URL(`${name}.hex`, directory), "utf8").replaceAll("\n", ""), "hex"),
  );
}

function decode(name: string): StunMessage {
  const result = decodeMessage(read(name));
  if (!result.ok) throw new Error(`${name}: ${result.error.code} at ${result.error.offset}`);
  return result.message;
}

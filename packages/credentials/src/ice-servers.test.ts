import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readIceServers, toGenerateIceServersResponse, toIceServers, toTurnRestResponse } from "./ice-servers.ts";

const credential = {
  username: "1900000000:alice",
  credential: "p4ss",
  expiresAtUnixSeconds: 1_900_000_000,
  ttlSeconds: 60,
};
const urls = ["stun:relay.example", "turn:relay.example?transport=udp", "turns:relay.example:5349"];

describe("toIceServers", () => {
  test("gives the credential to turn: and turns: alone", () => {
    const servers = toIceServers({ urls, credential });
    expect(servers).toEqual([
      { urls: ["stun:relay.example"] },
      {
        urls: ["turn:relay.example?transport=udp", "turns:relay.example:5349"],
        username: "1900000000:alice",
        credential: "p4ss",
      },
    ]);
    // What it makes is what a browser takes.
    servers satisfies { urls: string | readonly string[]; username?: string; credential?: string }[];
    expect(toIceServers({ urls: ["stuns:s.example"], credential })).toEqual([{ urls: ["stuns:s.example"] }]);
    expect(toIceServers({ urls: [], credential })).toEqual([]);
  });

  test.each(["http://relay.example", "relay.example", "", ":", "turn:", "turn: relay", "turn:relay\n", "turnx:relay"])(
    "refuses %j",
    (url) => {
      expect(() => toIceServers({ urls: [url], credential })).toThrow("ICE server");
    },
  );

  test("does not repeat what stands before an @", () => {
    expect(() => toIceServers({ urls: ["turn:alice:hunter2@relay.example"], credential })).toThrow(
      /^((?!hunter2).)*has a user in it((?!hunter2).)*$/u,
    );
  });
});

test("toTurnRestResponse has the draft's shape", () => {
  expect(toTurnRestResponse({ urls, credential })).toEqual({
    username: "1900000000:alice",
    password: "p4ss",
    ttl: 60,
    uris: urls,
  });
});

test("toGenerateIceServersResponse has one credential a relay", () => {
  const other = { ...credential, username: "1900000000:bob" };
  const answer = toGenerateIceServersResponse([
    { urls: ["turn:a.example"], credential },
    { urls: ["turn:b.example"], credential: other },
  ]);
  expect(answer).toEqual({
    iceServers: [
      { urls: ["turn:a.example"], username: "1900000000:alice", credential: "p4ss" },
      { urls: ["turn:b.example"], username: "1900000000:bob", credential: "p4ss" },
    ],
  });
});

describe("readIceServers", () => {
  const entry = { urls: ["turn:a.example"], username: "u", credential: "p" };

  test.each([
    ["our own", { iceServers: [entry], expiresAt: "2030-01-01T00:00:00Z" }, { expiresAt: "2030-01-01T00:00:00Z" }],
    ["an expiry in seconds", { iceServers: [entry], expiresAt: 1_900_000_000 }, { expiresAt: 1_900_000_000 }],
    ["a single entry", { iceServers: entry }, {}],
    [
      "ice_servers with url and ttl",
      { ice_servers: [{ ...entry, urls: undefined, url: "turn:a.example" }], ttl: "60" },
      { ttlSeconds: 60 },
    ],
    ["a bare array", [entry], {}],
    ["the TURN REST draft's", { username: "u", password: "p", ttl: 60, uris: ["turn:a.example"] }, { ttlSeconds: 60 }],
  ])("understands %s", (_name, answer, times) => {
    const entryOrUrl = readIceServers(JSON.parse(JSON.stringify(answer)));
    expect(entryOrUrl).toEqual({ iceServers: [entry], ...times });
  });

  test("reads what the writers write", () => {
    const iceServers = toIceServers({ urls, credential });
    expect(readIceServers({ iceServers }).iceServers).toEqual(iceServers);
    expect(readIceServers(toTurnRestResponse({ urls, credential }))).toEqual({ iceServers, ttlSeconds: 60 });
  });

  test.each([
    null,
    "text",
    {},
    { iceServers: "turn:a" },
    { iceServers: [null] },
    { iceServers: [{}] },
    { iceServers: [{ urls: [] }] },
    { iceServers: [{ urls: [7] }] },
    { iceServers: [{ urls: "turn:a.example" }] },
    { iceServers: [{ urls: "turn:a.example", username: 1, credential: "p" }] },
    { iceServers: [{ urls: "javascript:alert(1)" }] },
    { iceServers: Array.from({ length: 65 }, () => entry) },
    { uris: ["turn:a.example"] },
  ])("refuses %j", (answer) => {
    expect(() => readIceServers(answer)).toThrow(TypeError);
  });

  test("answers or throws TypeError, whatever it is given", () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom("iceServers", "ice_servers", "uris", "urls"), (value, key) => {
        for (const answer of [value, { [key]: value }, { iceServers: [{ urls: value, username: value }] }]) {
          try {
            readIceServers(answer);
          } catch (error) {
            expect(error).toBeInstanceOf(TypeError);
          }
        }
      }),
    );
  });
});

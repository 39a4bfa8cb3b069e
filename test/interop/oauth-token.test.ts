/** coturn's own token tool seals for us and opens what we sealed (RFC 7635). */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { type AccessTokenAlgorithm, openAccessToken, sealAccessToken } from "@turnpike/authn/turn";
import { describe, expect, test } from "vitest";

const serverName = "relay.example";
const key = Buffer.from("12345678901234567890123456789012");
const claims = { macKey: Buffer.alloc(32, "m"), issuedAtUnixMs: 1_700_000_000_500, lifetimeSeconds: 600 };
const nonce = Buffer.from("h4j3k2l2n4b5");

async function turnutilsOauth(algorithm: AccessTokenAlgorithm, args: readonly string[]): Promise<string> {
  const keys = ["-j", "north", "-k", key.toString("base64"), "-l", "1700000000", "-m", "86400", "-n", algorithm];
  const { stdout } = await promisify(execFile)("turnutils_oauth", ["-v", "-i", serverName, ...keys, ...args]);
  return stdout;
}

describe.each<[AccessTokenAlgorithm, number]>([
  ["A256GCM", 32],
  ["A128GCM", 16],
])("%s", (algorithm, keyLength) => {
  const options = { algorithm, key: key.subarray(0, keyLength), serverName };

  test("what turnutils_oauth seals, we open, and seal the same", async () => {
    // Its wire has 16 bits for the fraction of a second, in 1/64,000.
    const timestamp = (1_700_000_000n << 16n) | 32_000n;
    const [nonceText, macKeyText] = [nonce.toString("base64"), claims.macKey.toString("base64")];
    const sealing = `-e -o ${nonceText} -p ${macKeyText} -q ${String(timestamp)} -r 600`;
    const made = await turnutilsOauth(algorithm, sealing.split(" "));
    const token = Buffer.from(/"access_token":"([^"]+)"/u.exec(made)?.[1] ?? "", "base64");
    expect(openAccessToken(token, options)).toEqual({
      ok: true,
      claims: { ...claims, macKey: Uint8Array.from(claims.macKey) },
    });
    expect(Buffer.from(sealAccessToken(claims, { ...options, nonce })).equals(token)).toBe(true);
  });

  test("what we seal, turnutils_oauth opens, but for no other server", async () => {
    const token = Buffer.from(sealAccessToken(claims, { ...options, nonce })).toString("base64");
    const opened = await turnutilsOauth(algorithm, ["-d", "-t", token]);
    expect(opened).toContain("Valid token!");
    expect(opened).toContain("unixtime: 1700000000");
    expect(opened).toContain("lifetime: 600");
    const other = sealAccessToken(claims, { ...options, serverName: "other.example", nonce });
    await expect(turnutilsOauth(algorithm, ["-d", "-t", Buffer.from(other).toString("base64")])).rejects.toThrow();
  });
});

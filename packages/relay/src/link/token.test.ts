import { describe, expect, it } from "vitest";
import { readToken } from "./token.ts";

const readFile = (path: string): string => {
  if (path === "/run/secrets/token") return "from-file\n";
  throw new Error(`ENOENT: ${path}`);
};

describe("readToken", () => {
  it("takes the flag, then the file, then the environment", () => {
    const environment = { TURNPIKE_TOKEN: "from-environment", FIREZONE_TOKEN: "from-alias" };
    expect(readToken({ token: "from-flag", tokenFile: "/x", environment, readFile })).toBe("from-flag");
    expect(readToken({ tokenFile: "/run/secrets/token", environment, readFile })).toBe("from-file");
    expect(readToken({ environment, readFile })).toBe("from-environment");
    expect(readToken({ environment: { TURNPIKE_TOKEN_FILE: "/run/secrets/token" }, readFile })).toBe("from-file");
    expect(readToken({ readFile })).toBeUndefined();
  });

  it("takes the original's variable as a value or as a path", () => {
    expect(readToken({ environment: { FIREZONE_TOKEN: "SFMyNTY.g2gDaAN3" }, readFile })).toBe("SFMyNTY.g2gDaAN3");
    expect(readToken({ environment: { FIREZONE_TOKEN: "/run/secrets/token" }, readFile })).toBe("from-file");
  });

  it("refuses what is empty or can't be read", () => {
    expect(() => readToken({ token: " ", readFile })).toThrow(/empty/);
    expect(() => readToken({ tokenFile: "/nowhere", readFile })).toThrow(/ENOENT/);
    expect(() => readToken({ environment: { FIREZONE_TOKEN: "" }, readFile })).toThrow(/FIREZONE_TOKEN/);
  });
});

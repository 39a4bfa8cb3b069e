import { createHash } from "node:crypto";
import type { CreateAuthenticate } from "@turnpike/relay";

/** One static user, given as `{username, realm, password}`: the authenticator of the relays that are measured. */
export const createAuthenticate: CreateAuthenticate = (given) => {
  const { username, realm, password }: { username: string; realm: string; password: string } = Object(given);
  const text = `${username}:${realm}:${password}`;
  const keys = {
    md5: createHash("md5").update(text).digest(),
    sha256: createHash("sha256").update(text).digest(),
  };
  return (request) => {
    const key = keys[request.passwordAlgorithm];
    if (request.username !== username || !request.checkIntegrity(key)) {
      return { kind: "failed", reason: "badCredentials" };
    }
    return { kind: "authenticated", username, actor: username, scheme: "static", key };
  };
};

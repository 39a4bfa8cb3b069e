import { longTermKey, userhashOf } from "@turnpike/stun";
import { nodeCrypto } from "@turnpike/stun/node";
import type { AuthenticationDecision, AuthenticationRequest } from "@turnpike/turn";

/** Users with fixed passwords, as the simulator's authenticator: the smallest that keeps the engine's contract. */
export function staticUsers(
  users: Readonly<Record<string, string>>,
): (request: AuthenticationRequest) => AuthenticationDecision {
  return (request) => {
    const name = Object.keys(users).find(
      (username) =>
        username === request.username ||
        (request.userhash !== undefined &&
          userhashOf({ username, realm: request.realm, crypto: nodeCrypto }).every(
            (byte, i) => byte === request.userhash?.[i],
          )),
    );
    if (name === undefined) return { kind: "failed", reason: "unknownActor" };
    const key = longTermKey({
      algorithm: request.passwordAlgorithm,
      username: name,
      realm: request.realm,
      password: users[name] as string,
      crypto: nodeCrypto,
    });
    if (!request.checkIntegrity(key)) return { kind: "failed", reason: "badCredentials", actor: name };
    return { kind: "authenticated", username: name, actor: name, scheme: "static", key };
  };
}

import type { Problem } from "../errors.ts";
import type { Credentials } from "./credentials.ts";
import type { LoadedConfiguration } from "./load.ts";

/** Whoever sees one credential can try secrets offline: what is shorter than this many bytes is guessed. */
const SHORTEST_SECRET = 16;

/** What is allowed, but hardly meant: for `config check`, and the log of a start. */
export function concernsOf(loaded: LoadedConfiguration, credentials: Credentials): readonly Problem[] {
  const { turn } = loaded.configuration;
  return credentials.sharedSecrets.flatMap((secret, index) => {
    if (Buffer.byteLength(secret.reveal()) >= SHORTEST_SECRET) return [];
    const own = index < turn.shared_secrets.length;
    const where = loaded.placeOf(own ? ["turn", "shared_secrets", index] : ["turn", "shared_secrets_file"]);
    const which = own
      ? `turn.shared_secrets[${index}]`
      : `turn.shared_secrets_file: secret ${index + 1 - turn.shared_secrets.length}`;
    const message =
      `${which}: shorter than ${SHORTEST_SECRET} bytes: who sees one credential can guess it; ` +
      "make one by: openssl rand -hex 32";
    return [{ where, message }];
  });
}

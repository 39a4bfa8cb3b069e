import { createPublicKey, createSecretKey, type KeyObject } from "node:crypto";
import type { PortalSignatureKey } from "@turnpike/portal";
import { ConfiguredFiles, type FileReading } from "./configured-files.ts";
import type { LoadedConfiguration } from "./load.ts";

const MIN_SECRET_BYTES = 32;

/**
 * The keys of `[[authn.signature_key]]`, with the files read that they name.
 *
 * @throws ConfigurationError if a file can't be read, or what it holds is no such key
 */
export function readSignatureKeys(loaded: LoadedConfiguration, reading: FileReading): readonly PortalSignatureKey[] {
  const files = new ConfiguredFiles(loaded, reading);
  const keys = (loaded.configuration.authn.signature_key ?? []).flatMap((entry, index): PortalSignatureKey[] => {
    const { id, user, algorithm, key_file: file } = entry;
    const where = ["authn", "signature_key", index, file === undefined ? "key" : "key_file"];
    const text = entry.key ?? (file === undefined ? "" : files.text(file, where));
    if (text === "") return [];
    const key = algorithm === "ed25519" ? publicKeyOf(text) : secretOf(text);
    if (typeof key !== "string") return [{ id, user, algorithm, key }];
    files.problem(where, key);
    return [];
  });
  files.check();
  return keys;
}

function publicKeyOf(text: string): KeyObject | string {
  try {
    const key = createPublicKey(text);
    return key.asymmetricKeyType === "ed25519" ? key : `must be an Ed25519 key, not ${key.asymmetricKeyType}`;
  } catch {
    return "must be a public key in PEM form (-----BEGIN PUBLIC KEY-----)";
  }
}

function secretOf(text: string): KeyObject | string {
  const bytes = Buffer.from(text.trim(), "base64");
  return bytes.length < MIN_SECRET_BYTES
    ? `must be at least ${MIN_SECRET_BYTES} bytes in base64`
    : createSecretKey(bytes);
}

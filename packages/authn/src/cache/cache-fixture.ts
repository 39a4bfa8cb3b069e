import { createHash } from "node:crypto";
import type { OperationContext } from "../core/operation-context.ts";
import type { Secret } from "../core/secret.ts";
import type { Credentials, CredentialVerifier, VerifierResult } from "../verifiers/verifier.ts";
import { unavailable } from "../verifiers/verifier.ts";
import type { SecretDigester } from "./secret-digest.ts";

/** A quick digest for tests whose subject isn't the digest. Its salts are 1, 2, 3 … */
export class QuickDigester implements SecretDigester {
  made = 0;
  /** Set: each digest waits for it. */
  hold: Promise<void> | undefined;

  salt(): Uint8Array {
    this.made++;
    return Uint8Array.of(this.made >> 8, this.made & 0xff);
  }

  async digest(secret: Secret, salt: Uint8Array): Promise<Uint8Array> {
    const digest = createHash("sha256").update(salt).update(secret.revealBytes()).digest();
    await this.hold;
    return digest;
  }
}

/** A provider whose passwords, moods and answers a test sets. */
export class FakeProvider implements CredentialVerifier {
  readonly provider: string = "fake";
  readonly passwords: Map<string, string> = new Map();
  readonly locked: Set<string> = new Set();
  readonly groups: Map<string, readonly string[]> = new Map();
  readonly calls: { readonly username: string; readonly password: string }[] = [];
  down = false;
  expiresAtUnixMs: number | undefined;
  /** Set: each answer, decided when asked, waits for it. */
  hold: Promise<void> | undefined;
  aborted = 0;

  normalizeUsername(username: string): string {
    return username.toLowerCase();
  }

  async verify(_ctx: OperationContext, { username, password, signal }: Credentials): Promise<VerifierResult> {
    this.calls.push({ username, password: password.reveal() });
    signal?.addEventListener("abort", () => this.aborted++, { once: true });
    const answer = this.#decide(username.toLowerCase(), password.reveal());
    await this.hold;
    return answer;
  }

  #decide(username: string, password: string): VerifierResult {
    if (this.down) return unavailable("down");
    const right = this.passwords.get(username);
    if (right === undefined) return { kind: "rejected", reason: "unknownUser" };
    if (this.locked.has(username)) return { kind: "rejected", reason: "locked" };
    if (right !== password) return { kind: "rejected", reason: "badCredentials" };
    return {
      kind: "verified",
      subject: `id-${username}`,
      groups: this.groups.get(username) ?? [],
      roles: [],
      ...(this.expiresAtUnixMs === undefined ? {} : { expiresAtUnixMs: this.expiresAtUnixMs }),
    };
  }
}

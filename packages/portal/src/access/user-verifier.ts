import {
  type Credentials,
  type CredentialVerifier,
  OperationContext,
  type Verified,
  type VerifierResult,
} from "@turnpike/authn";
import type { Users } from "../store/users.ts";
import { ConflictError } from "../errors.ts";
import { isRole, type Role } from "./roles.ts";
import { isUserId } from "./user-id.ts";

/**
 * Makes users of the portal of those whom an external verifier knows. Who comes for the first time and has a role there
 * becomes a user here; roles of such users follow the verifier's at each sign-in. Of users whom somebody made here it
 * proves the password alone, and only if they have none here.
 */
export class UserVerifier implements CredentialVerifier {
  readonly provider: string;
  readonly #verifier: CredentialVerifier;
  readonly #users: Users;

  constructor({ verifier, users }: { readonly verifier: CredentialVerifier; readonly users: Users }) {
    this.provider = verifier.provider;
    this.#verifier = verifier;
    this.#users = users;
  }

  normalizeUsername(username: string): string {
    return this.#verifier.normalizeUsername?.(username) ?? username;
  }

  async verify(ctx: OperationContext, credentials: Credentials): Promise<VerifierResult> {
    try {
      // Whoever has a password here is nobody else's to vouch for, and theirs is not to be told.
      const named = await this.#users.find(ctx, this.normalizeUsername(credentials.username).toLowerCase());
      if (named?.hasPassword === true) {
        return { kind: "rejected", reason: "locked", detail: "the user has a password of the portal's own" };
      }
    } catch (error) {
      return storeFailed(error);
    }
    const result = await this.#verifier.verify(ctx, credentials);
    if (result.kind !== "verified") return result;
    const id = this.#userIdOf(result, credentials);
    if (id === undefined) {
      return { kind: "rejected", reason: "locked", detail: "neither subject nor user name can be a user's id here" };
    }
    try {
      return await this.#asUser(ctx, id, result);
    } catch (error) {
      return storeFailed(error);
    }
  }

  close(): Promise<void> {
    return this.#verifier.close?.() ?? Promise.resolve();
  }

  /** The subject, unless it is such as an LDAP distinguished name: then the name that was signed in with. */
  #userIdOf({ subject }: Verified, { username }: Credentials): string | undefined {
    return [subject, this.normalizeUsername(username)].map((name) => name.toLowerCase()).find(isUserId);
  }

  async #asUser(ctx: OperationContext, id: string, verified: Verified): Promise<VerifierResult> {
    const roles = verified.roles.filter(isRole);
    const known = await this.#users.find(ctx, id);
    if (known?.hasPassword === true) {
      return { kind: "rejected", reason: "locked", detail: "the user has a password of the portal's own" };
    }
    if (known?.disabled === true) return { kind: "rejected", reason: "locked", detail: "the user is disabled here" };
    if (known !== undefined && known.kind !== "user") {
      return { kind: "rejected", reason: "locked", detail: "this name is a program's" };
    }
    const own = OperationContext.internal("external-sign-in", { requestId: ctx.requestId, logger: ctx.logger });
    if (known?.isExternal === false) return { ...verified, subject: id, roles: known.roles };
    if (known === undefined) {
      if (roles.length > 0) await this.#create(own, { id, roles, name: verified.displayName });
    } else {
      const isSame = known.roles.length === roles.length && roles.every((role) => known.roles.includes(role));
      if (!isSame) await this.#users.update(own, id, { roles });
    }
    if (roles.length === 0) return { kind: "rejected", reason: "locked", detail: "the user has no role here" };
    return { ...verified, subject: id, roles };
  }

  async #create(
    ctx: OperationContext,
    user: { readonly id: string; readonly roles: readonly Role[]; readonly name: string | undefined },
  ): Promise<void> {
    try {
      await this.#users.create(ctx, { ...user, kind: "user", isExternal: true });
    } catch (error) {
      // Somebody came for the first time by two requests at once.
      if (!(error instanceof ConflictError)) throw error;
    }
  }
}

function storeFailed(error: unknown): VerifierResult {
  return { kind: "unavailable", cause: error instanceof Error ? error : new Error("the store failed") };
}

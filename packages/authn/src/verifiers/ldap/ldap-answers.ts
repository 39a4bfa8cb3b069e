import { PasswordPolicyError, ResultCodeError } from "ldapts";
import { type Rejected, unavailable, type VerifierUnavailable } from "../verifier.ts";

/** Result codes of RFC 4511 Appendix A that a bind may end with. */
const INVALID_CREDENTIALS = 49;
const INAPPROPRIATE_AUTHENTICATION = 48;
const NO_SUCH_OBJECT = 32;
const CONSTRAINT_VIOLATION = 19;
const UNWILLING_TO_PERFORM = 53;
const INSUFFICIENT_ACCESS = 50;
const REFERRAL = 10;

/** Sub-codes of invalidCredentials in Active Directory's diagnostic message: `… AcceptSecurityContext error, data 52e, v1db1`. */
const ACTIVE_DIRECTORY: Readonly<Record<string, Omit<Rejected, "kind">>> = {
  "525": { reason: "unknownUser", detail: "user not found" },
  "52e": { reason: "badCredentials", detail: "wrong password" },
  "530": { reason: "locked", detail: "not permitted to sign in at this time" },
  "531": { reason: "locked", detail: "not permitted to sign in from here" },
  "532": { reason: "locked", detail: "password has expired" },
  "533": { reason: "locked", detail: "account is disabled" },
  "701": { reason: "locked", detail: "account has expired" },
  "773": { reason: "locked", detail: "password must be changed first" },
  "775": { reason: "locked", detail: "account is locked" },
};

/** Codes of the password policy control (draft-behera-ldap-password-policy §6.2) that close an account. */
const POLICY: Readonly<Record<number, string>> = {
  [PasswordPolicyError.PasswordExpired]: "password has expired",
  [PasswordPolicyError.AccountLocked]: "account is locked",
  [PasswordPolicyError.ChangeAfterReset]: "password must be changed first",
};

/** The code of an answer; `undefined` if what was thrown isn't one. */
export function resultCodeOf(error: unknown): number | undefined {
  return error instanceof ResultCodeError ? error.code : undefined;
}

/** Whether a search failed because the searcher may not see what is there. */
export function isHidden(error: unknown): boolean {
  const code = resultCodeOf(error);
  return code === INSUFFICIENT_ACCESS || code === NO_SUCH_OBJECT;
}

/** What the password policy has against an account, whatever the bind said. */
export function rejectedByPolicy(code: number | undefined): Rejected | undefined {
  const detail = code === undefined ? undefined : POLICY[code];
  return detail === undefined ? undefined : { kind: "rejected", reason: "locked", detail };
}

/** What a failed bind of the user means: whatever isn't clearly a no is `unavailable`. */
export function interpretBindError(error: unknown): Rejected | VerifierUnavailable {
  const message = error instanceof Error ? error.message : "";
  switch (resultCodeOf(error)) {
    case INVALID_CREDENTIALS: {
      const code = /AcceptSecurityContext error, data ([0-9a-f]{3,4}),/iu.exec(message)?.[1]?.toLowerCase();
      return { kind: "rejected", ...(ACTIVE_DIRECTORY[code ?? ""] ?? { reason: "badCredentials" }) };
    }
    case INAPPROPRIATE_AUTHENTICATION:
      return { kind: "rejected", reason: "badCredentials", detail: "the user has no password" };
    case NO_SUCH_OBJECT:
      return { kind: "rejected", reason: "unknownUser" };
    case CONSTRAINT_VIOLATION:
      // 389 Directory Server: "Exceed password retry limit. Please try later."
      if (/retry limit/iu.test(message)) return { kind: "rejected", reason: "locked", detail: "too many attempts" };
      break;
    case UNWILLING_TO_PERFORM:
      // 389 Directory Server: "Account inactivated. Contact system administrator."
      if (/inactivated/iu.test(message))
        return { kind: "rejected", reason: "locked", detail: "account is inactivated" };
      break;
    case REFERRAL:
      return unavailable("the LDAP server refers to another one; passwords are not taken there", error);
    default:
  }
  return unavailable("the LDAP server could not check the password", error);
}

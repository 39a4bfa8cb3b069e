export {
  type Credentials,
  type CredentialVerifier,
  MAX_PASSWORD_BYTES,
  MAX_USERNAME_BYTES,
  type Rejected,
  type Verified,
  type VerifierResult,
  type VerifierUnavailable,
} from "./verifier.ts";

export {
  createExternalVerifier,
  type ExternalAuth,
  type ExternalVerifier,
  type ExternalVerifierConfig,
} from "./external-verifier.ts";

export { HtpasswdVerifier, type HtpasswdVerifierOptions } from "./htpasswd-verifier.ts";

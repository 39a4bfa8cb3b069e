export { HttpVerifier, type HttpVerifierOptions } from "./http-verifier.ts";

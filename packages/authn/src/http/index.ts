export { AccessTokens, type AccessTokenRequest, type AccessTokensOptions } from "./access-token.ts";
export {
  type AccessToken,
  type AccessTokenStore,
  MemoryAccessTokenStore,
  type StoredAccessToken,
} from "./access-token-store.ts";
export { type AdapterOptions, type FastifyRequestLike, fromFastifyRequest, fromNodeRequest } from "./adapters.ts";
export { type BasicOptions, BasicScheme, rejectionReason } from "./basic.ts";
export { type BearerOptions, BearerScheme, type OidcIssuer } from "./bearer.ts";
export { type ClientCertificateOptions, ClientCertificateScheme } from "./client-certificate.ts";
export { type AdmitOptions, type HttpAdmission, HttpGate, type HttpGateOptions } from "./http-gate.ts";
export type { HttpScheme, OpenApiSecurityScheme } from "./http-scheme.ts";
export { type HttpSignatureOptions, HttpSignatureScheme, type SignatureKey } from "./http-signature.ts";
export { issuerKeys, type IssuerKeysOptions, KeysUnavailableError } from "./issuer-keys.ts";
export { MemorySessionStore } from "./memory-session-store.ts";
export {
  contentDigest,
  type SignatureAlgorithm,
  type SignatureParameters,
  signRequest,
  type SignOptions,
} from "./message-signature.ts";
export { MemoryNonceStore, type NonceStore, type UsedNonce } from "./nonce-store.ts";
export {
  type FastifyReplyLike,
  type HttpRejection,
  httpRejection,
  type RejectionCause,
  replyRejection,
  sendRejection,
} from "./rejection.ts";
export { type ClientCertificate, headerValue, type HttpRequest } from "./request.ts";
export type { Session, SessionStore, StoredSession } from "./session.ts";
export {
  type SessionDetails,
  sessionDetailsOf,
  Sessions,
  type SessionsOptions,
  type StartedSession,
} from "./session-cookie.ts";
export { SPOOF_HEADER, SPOOF_RESERVED, type SpoofOptions, SpoofScheme } from "./spoof.ts";

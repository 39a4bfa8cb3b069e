export { Secret } from "../core/secret.ts";
export {
  type AccessTokenAlgorithm,
  type AccessTokenClaims,
  type AccessTokenError,
  type AccessTokenResult,
  type AccessTokenSealOptions,
  openAccessToken,
  sealAccessToken,
} from "./access-token.ts";
export {
  createTurnAuthenticator,
  type TurnAnswer,
  type TurnAuthenticator,
  type TurnAuthenticatorOptions,
} from "./authenticator.ts";
export type {
  JwtAccessTokenClaims,
  JwtAccessTokenOptions,
  JwtAccessTokenResult,
  VerifyJwt,
} from "./jwt-access-token.ts";
export { jwtVerifier, oauth, type OauthKey, type OauthOptions } from "./oauth.ts";
export { type QuestionLimits, TooManyQuestionsError } from "./question-limiter.ts";
export type { PasswordAlgorithm, TurnDecision, TurnRequest } from "./request.ts";
export {
  createRevocationList,
  type RevocableCredential,
  type Revocation,
  type RevocationKind,
  type RevocationList,
  type RevocationListOptions,
} from "./revocations.ts";
export type { TurnDetails, TurnEnvironment, TurnScheme, TurnSchemeFactory, TurnSchemeResult } from "./scheme.ts";
export { type StaticUser, staticUsers, type StaticUsersOptions } from "./static-users.ts";
export {
  portalStamps,
  type PortalStampsOptions,
  type Secrets,
  sharedSecrets,
  type SharedSecretsOptions,
} from "./time-limited.ts";
export { claimedUser, normalizeUser } from "./user.ts";
export { webhook, type WebhookOptions } from "./webhook.ts";
export { createHttpWebhook, type HttpWebhookOptions, type WebhookAsk, WebhookError } from "./webhook-http.ts";
export type { WebhookAnswer, WebhookQuestion } from "./webhook-messages.ts";

/** Why an operation failed. */
export type ClientFailure =
  /** Nobody answered: Rc transmissions, then Rm RTOs (RFC 8489 §6.2.1); or Ti over a reliable transport. */
  | { readonly code: "timeout"; readonly transmissions: number }
  /**
   * Answers came, but none that was made with the credential's key (RFC 8489 §9.2.5). `unauthenticated` is the error
   * that the last of them claimed: a hint for people, proven by nobody.
   */
  | { readonly code: "integrityViolated"; readonly unauthenticated: ServerError | undefined }
  /** The server said no. */
  | {
      readonly code: "refused";
      readonly error: ServerError;
      /** The attribute types of a 420. */
      readonly unknownAttributes: readonly number[];
    }
  /** The server asks for credentials and none were given, or for a token (RFC 7635 §6.1) and there is none. */
  | {
      readonly code: "credentialsRequired";
      readonly realm: string;
      readonly thirdPartyAuthorization: string | undefined;
    }
  /** 401 again, with the same realm. */
  | { readonly code: "unauthenticated"; readonly realm: string }
  /** The nonce promises PASSWORD-ALGORITHMS and they are missing: somebody on the path removed them (§9.2.5). */
  | { readonly code: "bidDown" }
  /** PASSWORD-ALGORITHMS names none that this client knows. */
  | { readonly code: "noPasswordAlgorithm" }
  /** A challenge after the other, without end. */
  | { readonly code: "tooManyChallenges" }
  /** 300, but to nowhere, or to a server that was asked within the last five minutes (RFC 8489 §10). */
  | { readonly code: "redirectLoop" }
  /** A success without what it must carry, or with something that must be understood and isn't. */
  | { readonly code: "malformedResponse"; readonly detail: string }
  | { readonly code: "transportFailed" }
  /** There is no allocation, it ran out, or it was closed. */
  | { readonly code: "noAllocation" }
  /** There is an allocation, but no ticket to move it with (RFC 8016). */
  | { readonly code: "notMobile" }
  /** All 4,096 channel numbers are bound or cool down. */
  | { readonly code: "noChannelFree" }
  | { readonly code: "tooManyOperations" }
  | { readonly code: "aborted" };

/** ERROR-CODE of an answer. */
export interface ServerError {
  /** 300–699. */
  readonly code: number;
  /** The server's words, for people. */
  readonly reason: string;
}

/** A failure in words, without secrets. */
export function describeFailure(failure: ClientFailure): string {
  switch (failure.code) {
    case "timeout":
      return `no answer (${failure.transmissions} transmissions)`;
    case "integrityViolated":
      return failure.unauthenticated === undefined
        ? "the answers were not made with the credential's key"
        : `the only answers were not authenticated; the last said ${describeServerError(failure.unauthenticated)}`;
    case "refused":
      return describeRefusal(failure.error, failure.unknownAttributes);
    case "credentialsRequired":
      return failure.thirdPartyAuthorization === undefined
        ? `the server asks for a user name and a credential (realm ${JSON.stringify(failure.realm)})`
        : `the server asks for an access token for ${JSON.stringify(failure.thirdPartyAuthorization)}`;
    case "unauthenticated":
      return `the server doesn't accept the user name and credential (401, realm ${JSON.stringify(failure.realm)})`;
    case "bidDown":
      return "the server's PASSWORD-ALGORITHMS were removed on the way";
    case "noPasswordAlgorithm":
      return "the server offers no password algorithm that this client knows";
    case "tooManyChallenges":
      return "the server challenges again and again";
    case "redirectLoop":
      return "the server redirects to nowhere, or in a circle";
    case "malformedResponse":
      return `the answer can't be used: ${failure.detail}`;
    case "transportFailed":
      return "the connection to the server is broken";
    case "noAllocation":
      return "there is no allocation";
    case "notMobile":
      return "the server gave no ticket to move the allocation with";
    case "noChannelFree":
      return "no channel number is free";
    case "tooManyOperations":
      return "too many operations are under way";
    case "aborted":
      return "it was given up";
  }
}

function describeRefusal(error: ServerError, unknown: readonly number[]): string {
  const types = unknown.map((type) => `0x${type.toString(16).padStart(4, "0")}`).join(", ");
  return `the server answered ${describeServerError(error)}${types === "" ? "" : `: ${types}`}`;
}

/** Without control characters: the words are the server's, and may end on a terminal. */
function describeServerError({ code, reason }: ServerError): string {
  const words = reason.replaceAll(/[\p{Cc}\p{Cf}]/gu, "?");
  return words === "" ? String(code) : `${code} (${words})`;
}

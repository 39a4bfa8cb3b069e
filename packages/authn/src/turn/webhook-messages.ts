import { z } from "zod";
import type { PasswordAlgorithm, TurnRequest } from "./request.ts";

/** What a webhook is asked. JSON as it stands here is the body of the HTTP call. */
export interface WebhookQuestion {
  readonly version: 1;
  readonly method: TurnRequest["method"];
  readonly realm: string;
  readonly username?: string;
  /** Hexadecimal; instead of `username` (RFC 8489 §14.4). */
  readonly userhash?: string;
  /** Which kind of key the request was made with. */
  readonly passwordAlgorithm: PasswordAlgorithm;
  readonly clientAddress: string;
  readonly transport: TurnRequest["transport"];
}

/** What a webhook says of a user: the key or the password, a refusal, or that it doesn't know the user. */
export type WebhookAnswer =
  | {
      readonly result: "allow";
      /** Hexadecimal: the key of the algorithm that was asked for, 32 or 64 digits. Give this or `password`. */
      readonly key?: string | undefined;
      readonly password?: string | undefined;
      /** Needed if `userhash` was asked. */
      readonly username?: string | undefined;
      /** Who that is, for quotas and events. Default: the user name. */
      readonly actor?: string | undefined;
      /** When the credential ends: seconds since 1970. Default: never. */
      readonly expiresAt?: number | undefined;
      /** Names the credential for revocation. Default: the user name. */
      readonly credentialId?: string | undefined;
      /** Links credentials that are revoked together. */
      readonly label?: string | undefined;
    }
  | { readonly result: "deny" }
  | { readonly result: "unknown" };

/** Reads an answer; `places` say where a malformed one is wrong, and never what stands there: it may be a secret. */
export function readWebhookAnswer(body: unknown): {
  readonly answer: WebhookAnswer | undefined;
  readonly places: readonly string[];
} {
  const parsed = webhookAnswer.safeParse(body);
  if (parsed.success) return { answer: parsed.data, places: [] };
  const places = parsed.error.issues.slice(0, 5).map((issue) => issue.path.join(".") || "the whole");
  return { answer: undefined, places };
}

const name = z.string().min(1).max(508);

// Unknown members are refused, so that a misspelt expiry doesn't go unnoticed.
const webhookAnswer: z.ZodType<WebhookAnswer> = z.discriminatedUnion("result", [
  z
    .strictObject({
      result: z.literal("allow"),
      key: z
        .string()
        .regex(/^(?:[0-9a-f]{32}|[0-9a-f]{64})$/iu)
        .optional(),
      password: z.string().min(1).max(1024).optional(),
      username: name.optional(),
      actor: name.optional(),
      expiresAt: z.number().positive().max(9_999_999_999).optional(),
      credentialId: name.optional(),
      label: name.optional(),
    })
    .refine((answer) => (answer.key === undefined) !== (answer.password === undefined)),
  z.strictObject({ result: z.literal("deny") }),
  z.strictObject({ result: z.literal("unknown") }),
]);

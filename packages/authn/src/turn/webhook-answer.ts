import { z } from "zod";
import type { WebhookAnswer } from "./webhook-messages.ts";

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

import { z } from "zod";
import { InvalidValueError } from "./values.ts";

/** A string that one of the checks of `values.ts` accepts. */
export function checkedText(check: (text: string) => string): z.ZodPipe<z.ZodString, z.ZodTransform<string, string>> {
  return z.string().transform((value, context) => {
    try {
      return check(value);
    } catch (error) {
      if (!(error instanceof InvalidValueError)) throw error;
      context.addIssue({ code: "custom", message: error.message });
      return z.NEVER;
    }
  });
}

/** A secret: any text but the empty one. */
export function secretText(): z.ZodString {
  return z.string().min(1);
}

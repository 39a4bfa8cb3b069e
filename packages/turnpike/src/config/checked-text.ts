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

/** A port that something can be reached at. */
export function portNumber(): z.ZodInt {
  return z.int().refine((port) => port >= 1 && port <= 65_535, "must be a port from 1 to 65535");
}

/** A secret: any text but the empty one. */
export function secretText(): z.ZodString {
  return z.string().min(1);
}

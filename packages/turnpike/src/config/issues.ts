import type { z } from "zod";
import { keyName } from "./setting.ts";
import { valueAt } from "./tree.ts";

/** Says what is wrong with one value, for people. Never repeats the value: it may be a secret. */
export function describeIssue(issue: z.core.$ZodIssue, tree: unknown): string {
  return `${keyName(issue.path)}: ${complaint(issue, valueAt(tree, issue.path))}`;
}

function complaint(issue: z.core.$ZodIssue, value: unknown): string {
  switch (issue.code) {
    case "invalid_type":
      if (value === undefined) return "is missing";
      return issue.expected === "int" && typeof value === "number"
        ? "must be a whole number"
        : `must be ${nounOf(issue.expected)}, not ${value === null ? "null" : nounOf(typeName(value))}`;
    case "too_small":
      return issue.origin === "string" || issue.origin === "array"
        ? issue.minimum === 1
          ? "must not be empty"
          : `must have at least ${issue.minimum} entries`
        : `must be ${issue.inclusive === false ? "above" : "at least"} ${issue.minimum}`;
    case "too_big":
      return issue.origin === "string"
        ? `must be at most ${issue.maximum} characters long`
        : issue.origin === "array"
          ? `must have at most ${issue.maximum} entries`
          : `must be at most ${issue.maximum}`;
    case "invalid_value":
      return `must be one of: ${issue.values.map(String).join(", ")}`;
    case "custom":
    case "invalid_format":
    case "invalid_element":
    case "invalid_key":
    case "invalid_union":
    case "not_multiple_of":
    case "unrecognized_keys":
      return issue.message;
  }
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  tuple: "a list",
  object: "a table",
  date: "a date",
};

function nounOf(type: string): string {
  return NOUNS[type] ?? type;
}

function typeName(value: unknown): string {
  if (Array.isArray(value)) return "array";
  return value instanceof Date ? "date" : typeof value;
}

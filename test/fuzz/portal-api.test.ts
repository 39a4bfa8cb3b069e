/** Drives every operation of the portal's OpenAPI document with what it allows and what it doesn't. */
import { describeApi } from "@turnpike/portal";
import { CredentialCache } from "@turnpike/authn";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { startTestPortal } from "../support/portal.ts";

interface Schema {
  readonly type?: string;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly items?: Schema;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
}
interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Schema }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}

const RUNS = Number(process.env["TURNPIKE_API_FUZZ_RUNS"] ?? 40);

/** Values of a schema, or near them. */
function near(schema: Schema): fc.Arbitrary<unknown> {
  const good = ((): fc.Arbitrary<unknown> => {
    if (schema.const !== undefined) return fc.constant(schema.const);
    if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices !== undefined) return fc.oneof(...choices.map(near));
    switch (schema.type) {
      case "integer":
        return fc.oneof(
          fc.integer({ min: Math.max(schema.minimum ?? 0, 0), max: Math.min(schema.maximum ?? 1e6, 1e6) }),
          fc.maxSafeInteger(),
        );
      case "number":
        return fc.double({ noNaN: true });
      case "boolean":
        return fc.boolean();
      case "null":
        return fc.constant(null);
      case "array":
        return fc.array(near(schema.items ?? {}), { maxLength: 5 });
      case "object": {
        const entries = Object.entries(schema.properties ?? {}).map(([name, each]) => [name, near(each)] as const);
        return fc.record(Object.fromEntries(entries), { requiredKeys: [...(schema.required ?? [])] });
      }
      default:
        return schema.pattern === undefined || /\\p|\(\?/.test(schema.pattern)
          ? fc.oneof(fc.string({ minLength: 1, maxLength: 40 }), fc.string({ unit: "binary", maxLength: 20 }))
          : fc.oneof(
              { weight: 3, arbitrary: fc.stringMatching(new RegExp(schema.pattern)) },
              fc.string({ maxLength: 40 }),
            );
    }
  })();
  return fc.oneof({ weight: 6, arbitrary: good }, { weight: 1, arbitrary: fc.jsonValue() });
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}

describe("the API", async () => {
  const { paths } = (await describeApi("0")) as { readonly paths: Record<string, Record<string, Operation>> };
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => [operation.operationId, { path, method, operation }] as const),
  );

  it.each(operations.filter(([id]) => id !== "events"))(
    "%s answers what its document lists, and never 500",
    async (_, { path, method, operation }) => {
      const test = await startTestPortal({ cache: new CredentialCache({ enabled: true }) });
      const { parameters = [], requestBody, responses } = operation;
      const values = fc.record(Object.fromEntries(parameters.map(({ name, schema }) => [name, near(schema)])));
      const bodySchema = requestBody?.content["application/json"]?.schema;
      const body =
        bodySchema === undefined
          ? fc.constant(undefined)
          : fc.oneof({ weight: 5, arbitrary: near(bodySchema).map((each) => JSON.stringify(each)) }, fc.string());
      await fc.assert(
        fc.asyncProperty(values, body, fc.integer({ min: 0, max: 9 }), async (given, text, chance) => {
          const query = new URLSearchParams();
          let target = path;
          for (const parameter of parameters) {
            const value = textOf(given[parameter.name]);
            if (parameter.in === "path")
              target = target.replace(`{${parameter.name}}`, encodeURIComponent(value.toWellFormed()));
            else if (chance > 0) query.set(parameter.name, value.toWellFormed());
          }
          if (path !== target && /\/(?:\/|$)|\/\.{1,2}(?:\/|$)/.test(target)) return;
          const answer = await test.request(
            method.toUpperCase(),
            `${target}?${query}`,
            text === undefined ? {} : { body: text },
          );
          expect(Object.keys(responses)).toContain(String(answer.status));
          expect(answer.status).not.toBe(500);
          if (answer.status >= 400) expect(answer.headers.get("content-type")).toBe("application/problem+json");
        }),
        { numRuns: RUNS },
      );
    },
  );

  it("answers rubbish as requests with problem details", async () => {
    const test = await startTestPortal();
    const method = fc.constantFrom("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS");
    const path = fc.webPath({ size: "small" }).map((each) => `/v1${each}`);
    await fc.assert(
      fc.asyncProperty(method, path, fc.webQueryParameters(), async (method, path, query) => {
        const { status, headers } = await test.request(method, `${path}?${query}`, { token: "" });
        expect([400, 401, 404, 414]).toContain(status);
        expect(headers.get("content-type")).toBe("application/problem+json");
      }),
      { numRuns: RUNS * 3 },
    );
  });
});

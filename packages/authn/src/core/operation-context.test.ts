import { describe, expect, expectTypeOf, test } from "vitest";
import { OperationContext } from "./operation-context.ts";

describe("OperationContext", () => {
  test("an internal one is named, and its actor is the program itself", () => {
    const context = OperationContext.internal("session-cleanup");
    expect(context.actor).toEqual({ kind: "builtIn", id: "session-cleanup" });
    expect(context.authentication).toBeUndefined();
    expect(context.requestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(OperationContext.isGenuine(context)).toBe(true);
    expect(() => OperationContext.assert(context)).not.toThrow();
  });

  test.each(["", "Session", "a b", "a\nb", "-a", "a-", "a--b", "é"])("refuses the name %j", (name) => {
    expect(() => OperationContext.internal(name)).toThrow(TypeError);
  });

  test("can't be forged at run time", () => {
    const genuine = OperationContext.internal("session-cleanup");
    const construct =
      (...rest: unknown[]) =>
      (): unknown =>
        Reflect.construct(OperationContext, rest);
    expect(construct()).toThrow(/only an Authenticator/);
    expect(construct(Symbol("OperationContext"), { actor: genuine.actor })).toThrow(/only an Authenticator/);
    expect(() => Reflect.construct(OperationContext, [undefined, {}], Map) as unknown).toThrow(/only an Authenticator/);
    const forgeries: unknown[] = [
      Object.assign({}, genuine),
      Object.create(genuine),
      Object.create(OperationContext.prototype),
      Object.setPrototypeOf(Object.assign({}, genuine), OperationContext.prototype),
      new Proxy(genuine, {}),
      structuredClone({ requestId: genuine.requestId }),
      null,
      undefined,
      "context",
    ];
    for (const forgery of forgeries) {
      expect(OperationContext.isGenuine(forgery)).toBe(false);
      expect(() => OperationContext.assert(forgery)).toThrow(TypeError);
    }
  });

  test("can't be changed after it was made", () => {
    const context = OperationContext.internal("session-cleanup");
    expect(() => Object.assign(context, { actor: { kind: "user", id: "root", roles: [] } })).toThrow(TypeError);
    expect(() => Object.assign(context.actor!, { id: "other" })).toThrow(TypeError);
  });

  test("can't be forged by type", () => {
    type Public = { [Key in keyof OperationContext]: OperationContext[Key] };
    const lookAlike: Public = Object.assign({}, OperationContext.internal("session-cleanup"));
    expectTypeOf<Public>().not.toExtend<OperationContext>();
    const make = (): void => {
      // @ts-expect-error the constructor is private
      void new OperationContext();
      // @ts-expect-error a structural look-alike lacks the private field
      const forged: OperationContext = lookAlike;
      void forged;
    };
    expect(make).toThrow(TypeError);
  });
});

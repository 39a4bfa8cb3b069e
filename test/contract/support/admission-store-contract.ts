import type { AdmissionStore } from "@turnpike/relay";
import { describe, expect, test } from "vitest";

/** What a suite needs: two relays' views of the same quotas, empty at first. */
export interface StoresUnderTest {
  readonly first: AdmissionStore;
  readonly second: AdmissionStore;
  readonly close: () => Promise<void>;
}

/** What every store of quotas does. */
export function admissionStoreContract(name: string, open: () => Promise<StoresUnderTest>): void {
  async function withStores(run: (first: AdmissionStore, second: AdmissionStore) => Promise<void>): Promise<void> {
    const { first, second, close } = await open();
    try {
      await run(first, second);
    } finally {
      await close();
    }
  }
  const user = (limit: number, key = "user alice") => ({ key, limit });

  describe(name, () => {
    test("gives no more than there is, over all relays, and what is released again", () =>
      withStores(async (first, second) => {
        expect(await first.reserve({ lease: "1", quotas: [user(2)] })).toEqual({ granted: true });
        expect(await second.reserve({ lease: "2", quotas: [user(2)] })).toEqual({ granted: true });
        expect(await first.reserve({ lease: "3", quotas: [user(2)] })).toEqual({ granted: false, full: "user alice" });
        await second.release("2");
        expect(await first.reserve({ lease: "3", quotas: [user(2)] })).toEqual({ granted: true });
        expect(await second.reserve({ lease: "4", quotas: [user(2, "user bob")] })).toEqual({ granted: true });
      }));

    test("counts a lease once, however often it is asked for, committed or released", () =>
      withStores(async (store) => {
        for (let i = 0; i < 3; i++) {
          expect(await store.reserve({ lease: "1", quotas: [user(2)] })).toEqual({ granted: true });
          await store.commit("1");
        }
        expect(await store.reserve({ lease: "2", quotas: [user(2)] })).toEqual({ granted: true });
        for (let i = 0; i < 3; i++) await store.release("1");
        expect(await store.reserve({ lease: "3", quotas: [user(2)] })).toEqual({ granted: true });
        expect(await store.reserve({ lease: "4", quotas: [user(2)] })).toMatchObject({ granted: false });
        await store.release("never reserved");
        await store.commit("never reserved");
      }));

    test("takes of every quota or of none", () =>
      withStores(async (store) => {
        const total = { key: "total", limit: 3 };
        for (const lease of ["1", "2"]) await store.reserve({ lease, quotas: [user(2), total] });
        expect(await store.reserve({ lease: "3", quotas: [total, user(2)] })).toEqual({
          granted: false,
          full: "user alice",
        });
        expect(await store.reserve({ lease: "4", quotas: [user(2, "user bob"), total] })).toEqual({ granted: true });
        expect(await store.reserve({ lease: "5", quotas: [user(2, "user bob"), total] })).toEqual({
          granted: false,
          full: "total",
        });
      }));

    test("a quota of none admits none; keys may hold anything", () =>
      withStores(async (store) => {
        expect(await store.reserve({ lease: "1", quotas: [user(0)] })).toMatchObject({ granted: false });
        const strange = "user {x} \n\u{1f600}:*";
        expect(await store.reserve({ lease: "2", quotas: [user(1, strange)] })).toEqual({ granted: true });
        expect(await store.reserve({ lease: "3", quotas: [user(1, strange)] })).toMatchObject({ granted: false });
      }));

    test("a hundred at once get what there is, no more and no less", () =>
      withStores(async (first, second) => {
        const asked = Array.from({ length: 100 }, async (_, i) =>
          (i % 2 === 0 ? first : second).reserve({ lease: `${i}`, quotas: [user(7)] }),
        );
        const granted = (await Promise.all(asked)).filter((each) => each.granted);
        expect(granted).toHaveLength(7);
      }));

    test("closing gives back all that it held", () =>
      withStores(async (first, second) => {
        await first.reserve({ lease: "1", quotas: [user(1)] });
        await first.commit("1");
        await first.close();
        expect(await second.reserve({ lease: "2", quotas: [user(1)] })).toEqual({ granted: true });
      }));
  });
}

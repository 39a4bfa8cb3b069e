import { randomBytes } from "node:crypto";
import type { OperationContext } from "@turnpike/authn";
import type { Kysely } from "kysely";
import { ConflictError } from "../errors.ts";
import { putMessage } from "./outbox.ts";
import type { Database } from "./schema.ts";
import type { Store } from "./store.ts";

/** A secret of credentials that every relay of the fleet accepts. */
interface FleetSecret {
  readonly secret: string;
  /** When it begins to mint. */
  readonly fromUnixMs: number;
  /** When relays forget it. Absent: it is the newest. */
  readonly untilUnixMs?: number;
}

const KEY = "fleet-secret";
/** As long as relays may take to hear of a new one. */
const SPREAD_MS = 5_000;
/** As many as a relay takes. */
const MAX_SECRETS = 8;

/**
 * The secrets of the TURN REST form. One mints; those before it are accepted until what they minted has ended, so that a
 * rotation refuses nobody.
 */
export class FleetSecrets {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** Makes the first one, unless it is there. */
  async prepare(ctx: OperationContext): Promise<void> {
    await this.#store.note(ctx, (db) =>
      db
        .insertInto("settings")
        .values({ key: KEY, value: newSecret() })
        .onConflict((conflict) => conflict.doNothing())
        .execute(),
    );
  }

  /** What relays accept, the newest first. */
  async accepted(ctx: OperationContext): Promise<readonly string[]> {
    return this.#living(await read(this.#store.reader(ctx))).map(({ secret }) => secret);
  }

  /** What mints: the newest that relays have heard of. */
  async minting(ctx: OperationContext): Promise<string> {
    const living = this.#living(await read(this.#store.reader(ctx)));
    const now = this.#store.clock.unixMs();
    const found = living.find(({ fromUnixMs }) => fromUnixMs <= now) ?? living[0];
    if (found === undefined) throw new Error("There is no secret of the fleet");
    return found.secret;
  }

  /**
   * Makes a new secret, tells the relays, and has it mint as soon as they know. The one before is accepted for `keepSeconds`
   * more; 0 refuses what it minted at once, and living allocations stay.
   *
   * @throws ConflictError if so many are accepted that a relay couldn't take one more
   */
  async rotate(ctx: OperationContext, { keepSeconds }: { readonly keepSeconds: number }): Promise<void> {
    const details = { keepSeconds };
    await this.#store.mutate(ctx, { action: "fleet-secret.rotated", target: "fleet", details }, async (trx) => {
      await this.#store.serialize(trx);
      const now = this.#store.clock.unixMs();
      const ending = now + keepSeconds * 1_000;
      const former = this.#living(await read(trx)).map(({ untilUnixMs = ending, ...rest }) => ({
        ...rest,
        untilUnixMs: Math.min(untilUnixMs, ending),
      }));
      const next = [{ secret: newSecret(), fromUnixMs: now + SPREAD_MS }, ...this.#living(former)];
      if (next.length > MAX_SECRETS) {
        throw new ConflictError(
          `${MAX_SECRETS} secrets are accepted already: wait for the oldest to end, or keep them shorter.`,
        );
      }
      await this.#write(trx, next);
      return true;
    });
  }

  /** Has relays forget what has ended. */
  async retire(ctx: OperationContext): Promise<void> {
    const isOver = (secrets: readonly FleetSecret[]): boolean => this.#living(secrets).length < secrets.length;
    if (!isOver(await read(this.#store.reader(ctx)))) return;
    await this.#store.mutate(ctx, { action: "fleet-secret.retired", target: "fleet" }, async (trx) => {
      await this.#store.serialize(trx);
      const secrets = await read(trx);
      if (!isOver(secrets)) return false;
      await this.#write(trx, this.#living(secrets));
      return true;
    });
  }

  #living(secrets: readonly FleetSecret[]): readonly FleetSecret[] {
    const now = this.#store.clock.unixMs();
    return secrets.filter(({ untilUnixMs = Infinity }) => untilUnixMs > now);
  }

  async #write(trx: Parameters<typeof putMessage>[1], secrets: readonly FleetSecret[]): Promise<void> {
    await trx
      .updateTable("settings")
      .set({ value: JSON.stringify(secrets) })
      .where("key", "=", KEY)
      .execute();
    const payload = { secrets: secrets.map(({ secret }) => secret) };
    await putMessage(this.#store, trx, { message: { event: "fleet_secrets", payload } });
  }
}

function newSecret(): string {
  return randomBytes(32).toString("base64url");
}

/** A store that has never seen a rotation holds the bare secret. */
async function read(db: Kysely<Database>): Promise<readonly FleetSecret[]> {
  const row = await db.selectFrom("settings").select("value").where("key", "=", KEY).executeTakeFirst();
  if (row === undefined) return [];
  if (!row.value.startsWith("[")) return [{ secret: row.value, fromUnixMs: 0 }];
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- written above
  return JSON.parse(row.value) as FleetSecret[];
}

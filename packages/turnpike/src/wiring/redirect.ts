import { randomUUID } from "node:crypto";
import {
  type AdmissionStore,
  type FleetRelay,
  redirectByFirst,
  redirectByRules,
  type RedirectPolicy,
  redirectToLeastLoaded,
  type Relay,
} from "@turnpike/relay";
import type { RedisFleetLoads } from "@turnpike/relay/redis";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";

/** What the relays of a fleet know of each other, once this one has joined. */
export interface Fleet {
  loads: RedisFleetLoads | undefined;
}

/** Who is sent to another relay, if anybody is. `relays`: the others of the fleet. */
export function redirectOf(
  { redirect: { rule: rules, least_loaded: toLeastLoaded } }: Pick<Configuration, "redirect">,
  relays: () => readonly FleetRelay[],
): RedirectPolicy | undefined {
  const policies: RedirectPolicy[] = [];
  if (rules.length > 0) {
    policies.push(
      redirectByRules(
        rules.map(({ servers, domain, users, prefixes, min_allocations: minAllocations, draining }) => ({
          servers,
          ...(domain === undefined ? {} : { domain }),
          ...(users === undefined ? {} : { users }),
          ...(prefixes === undefined ? {} : { prefixes }),
          ...(minAllocations === undefined ? {} : { minAllocations }),
          ...(draining === undefined ? {} : { draining }),
        })),
      ),
    );
  }
  if (toLeastLoaded) policies.push(redirectToLeastLoaded({ relays }));
  return policies.length === 0 ? undefined : redirectByFirst(policies);
}

/** Joins the relays of a fleet that tell each other how full they are. @throws CommandError if the store is away */
export async function connectFleetLoads(
  { redirect, quota }: Configuration,
  { relay, logger }: { readonly relay: () => Relay | undefined; readonly logger: Logger },
): Promise<RedisFleetLoads | undefined> {
  if (!redirect.least_loaded || quota.store === undefined) return undefined;
  const { advertise: servers, domain } = redirect;
  try {
    const { RedisFleetLoads: Loads } = await import("@turnpike/relay/redis");
    return await Loads.connect({
      url: quota.store,
      relayId: randomUUID(),
      own: { servers, ...(domain === undefined ? {} : { domain }) },
      allocations: () => {
        const stats = relay()?.stats();
        return stats === undefined || stats.draining ? undefined : stats.allocations;
      },
      logger,
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`redirect.least_loaded: quota.store can't be reached: ${reason}`, {
      exitCode: 1,
      cause: error,
    });
  }
}

/** A store that a relay closes when it stops, and with which it leaves its fleet. */
export function leavingFleet(store: AdmissionStore, fleet: Fleet): AdmissionStore {
  return {
    reserve: (reservation) => store.reserve(reservation),
    commit: (lease) => store.commit(lease),
    release: (lease) => store.release(lease),
    close: async () => {
      await fleet.loads?.close();
      await store.close();
    },
  };
}

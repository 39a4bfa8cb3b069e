import { randomBytes } from "node:crypto";
import type { OperationContext } from "@turnpike/authn";
import { normalizeUser } from "@turnpike/authn/turn";
import {
  type IceServer,
  mintStamp,
  mintTimeLimited,
  toGenerateIceServersResponse,
  toTurnRestResponse,
  type TurnRestResponse,
} from "@turnpike/credentials";
import { authorize } from "./access/roles.ts";
import { UnavailableError } from "./errors.ts";
import { chooseRelays } from "./fleet/choose-relays.ts";
import type { FleetState, LinkedRelay } from "./fleet/fleet-state.ts";
import type { PortalTelemetry } from "./telemetry/portal-telemetry.ts";
import type { FleetSecrets } from "./store/fleet-secrets.ts";
import type { Credentials } from "./store/credentials.ts";

/** What {@link Minter} needs. */
export interface MinterOptions {
  readonly fleet: FleetState;
  readonly credentials: Credentials;
  readonly fleetSecrets: FleetSecrets;
  readonly unixMs: () => number;
  /** How long a credential can last, in seconds. Default a week. */
  readonly maxTtlSeconds?: number | undefined;
  /** How many relays a client is given. Default 2. */
  readonly relaysPerClient?: number | undefined;
  readonly regionOf?: ((address: string) => string | undefined) | undefined;
  readonly telemetry: PortalTelemetry;
  /** At least 0, less than 1. */
  readonly random: () => number;
}

/** What is asked for. */
export interface MintRequest {
  /** Seconds. Default a day; more than the portal allows is cut to that. */
  readonly ttlSeconds?: number | undefined;
  /** Whose quotas and events it counts for. Default: whoever asks. */
  readonly user?: string | undefined;
  /** Links what is minted with others of the same user and label: revoking any revokes all. Default: a fresh one. */
  readonly label?: string | undefined;
  /** The client's address, if it is known. */
  readonly clientAddress?: string | undefined;
}

/** What was minted. */
export interface Minted {
  readonly iceServers: readonly IceServer[];
  readonly expiresAtUnixMs: number;
}

/** Mints credentials for the relays of the fleet. */
export class Minter {
  readonly #options: MinterOptions;

  constructor(options: MinterOptions) {
    this.#options = options;
  }

  /**
   * One credential for each chosen relay, stamped with that relay's secret.
   *
   * @throws UnavailableError if no relay is linked
   */
  async mint(ctx: OperationContext, request: MintRequest): Promise<Minted> {
    authorize(ctx, "credentials.mint");
    const { user, label } = this.#whose(ctx, request);
    const relays = await this.#choose(request);
    const minted = await Promise.all(
      relays.map(async (relay) => ({
        relay,
        credential: await mintStamp({ ...this.#times(request), stampSecret: relay.stampSecret, user }),
      })),
    );
    await this.#options.credentials.insert(
      ctx,
      minted.map(({ relay, credential }) => ({
        username: credential.username,
        actor: normalizeUser(user),
        label,
        relayId: relay.id,
        expiresAtUnixMs: credential.expiresAtUnixSeconds * 1_000,
      })),
    );
    this.#options.telemetry.countMinted(minted.length);
    const { iceServers } = toGenerateIceServersResponse(
      minted.map(({ relay, credential }) => ({ urls: relay.urls, credential })),
    );
    const expiresAtUnixMs = Math.min(...minted.map(({ credential }) => credential.expiresAtUnixSeconds * 1_000));
    return { iceServers, expiresAtUnixMs };
  }

  /**
   * One credential that every relay of the fleet accepts, as the TURN REST draft has it.
   *
   * @throws UnavailableError if no relay is linked
   */
  async mintForFleet(ctx: OperationContext, request: MintRequest): Promise<TurnRestResponse> {
    authorize(ctx, "credentials.mint");
    const { user, label } = this.#whose(ctx, request);
    const relays = await this.#choose(request);
    const credential = await mintTimeLimited({
      ...this.#times(request),
      secrets: await this.#options.fleetSecrets.minting(ctx),
      user,
    });
    await this.#options.credentials.insert(ctx, [
      {
        username: credential.username,
        actor: normalizeUser(user),
        label,
        expiresAtUnixMs: credential.expiresAtUnixSeconds * 1_000,
      },
    ]);
    this.#options.telemetry.countMinted(1);
    const urls = relays.flatMap((relay) => relay.urls.filter((url) => url.startsWith("turn")));
    return toTurnRestResponse({ urls, credential });
  }

  #whose(ctx: OperationContext, request: MintRequest): { readonly user: string; readonly label: string } {
    return {
      user: request.user ?? ctx.actor?.id ?? "nobody",
      label: request.label ?? `m-${randomBytes(12).toString("base64url")}`,
    };
  }

  #times({ ttlSeconds }: MintRequest): { ttlSeconds?: number; maxTtlSeconds?: number; nowUnixMs: number } {
    const { maxTtlSeconds, unixMs } = this.#options;
    return {
      nowUnixMs: unixMs(),
      ...(ttlSeconds === undefined ? {} : { ttlSeconds }),
      ...(maxTtlSeconds === undefined ? {} : { maxTtlSeconds }),
    };
  }

  async #choose({ clientAddress }: MintRequest): Promise<readonly LinkedRelay[]> {
    const { fleet, relaysPerClient = 2, regionOf, random } = this.#options;
    const relays = chooseRelays(await fleet.relays(), {
      count: relaysPerClient,
      random,
      ...(clientAddress === undefined ? {} : { clientAddress }),
      ...(regionOf === undefined ? {} : { regionOf }),
    });
    if (relays.length === 0) {
      throw new UnavailableError("No relay is linked to the portal that takes new allocations: start one, or wait.");
    }
    return relays;
  }
}

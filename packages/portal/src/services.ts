import type {
  AccessTokens,
  CredentialCache,
  CredentialVerifier,
  HttpGate,
  Logger,
  Penalties,
  Sessions,
} from "@turnpike/authn";
import type { FleetState } from "./fleet/fleet-state.ts";
import type { OutboxTail } from "./fleet/outbox-tail.ts";
import type { RelayRegistry } from "./fleet/relay-registry.ts";
import type { PortalTelemetry } from "./telemetry/portal-telemetry.ts";
import type { Minter } from "./minter.ts";
import type { Credentials } from "./store/credentials.ts";
import type { FleetSecrets } from "./store/fleet-secrets.ts";
import type { Relays } from "./store/relays.ts";
import type { Store } from "./store/store.ts";
import type { Users } from "./store/users.ts";

/** Everything that routes work with. */
export interface Services {
  readonly portalId: string;
  readonly store: Store;
  readonly users: Users;
  readonly relays: Relays;
  readonly credentials: Credentials;
  readonly fleetSecrets: FleetSecrets;
  readonly sessions: Sessions;
  /** `tp_…`: of people and programs. */
  readonly tokens: AccessTokens;
  /** `tr_…`: of relays. */
  readonly relayTokens: AccessTokens;
  readonly gate: HttpGate;
  readonly penalties: Penalties;
  readonly fleet: FleetState;
  readonly registry: RelayRegistry;
  readonly tail: OutboxTail;
  readonly minter: Minter;
  /** Passwords that somebody else knows, of users of the portal. */
  readonly verifier: CredentialVerifier | undefined;
  readonly cache: CredentialCache | undefined;
  readonly telemetry: PortalTelemetry;
  /** Streams of events. */
  readonly streams: { open: number };
  readonly logger: Logger;
  /** Whether new work is taken: false while the portal stops. */
  readonly isServing: () => boolean;
}

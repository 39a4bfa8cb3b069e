import type { Generated } from "kysely";

/** Times are wall-clock milliseconds since 1970, truth values 0 and 1, lists JSON: the same in both databases. */
export interface Database {
  readonly settings: SettingsTable;
  readonly users: UsersTable;
  readonly tokens: TokensTable;
  readonly sessions: SessionsTable;
  readonly sign_in_codes: SignInCodesTable;
  readonly relays: RelaysTable;
  readonly credentials: CredentialsTable;
  readonly audit: AuditTable;
  readonly outbox: OutboxTable;
}

interface SettingsTable {
  readonly key: string;
  readonly value: string;
}

export interface UsersTable {
  readonly id: string;
  /** `user` or `service`. */
  readonly kind: string;
  readonly name: string | null;
  readonly roles: string;
  readonly disabled: number;
  readonly password_hash: string | null;
  readonly max_allocations: number | null;
  /** Made of somebody whom an external verifier knows: roles are that one's to give. */
  readonly is_external: number;
  readonly created_at: number;
}

export interface TokensTable {
  readonly id: string;
  readonly token_digest: string;
  readonly prefix: string;
  readonly actor_kind: string;
  readonly actor_id: string;
  readonly label: string;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly last_used_at: number | null;
}

export interface SessionsTable {
  readonly id: string;
  readonly token_digest: string;
  readonly actor_kind: string;
  readonly actor_id: string;
  readonly created_at: number;
  readonly last_used_at: number;
  readonly expires_at: number;
}

interface SignInCodesTable {
  readonly digest: string;
  readonly user_id: string;
  readonly expires_at: number;
}

export interface RelaysTable {
  readonly id: string;
  readonly name: string;
  readonly created_at: number;
}

export interface CredentialsTable {
  readonly username: string;
  readonly actor: string;
  readonly label: string;
  /** Null: every relay of the fleet accepts it. */
  readonly relay_id: string | null;
  readonly minted_by: string;
  readonly created_at: number;
  readonly expires_at: number;
  readonly revoked_at: number | null;
}

export interface AuditTable {
  readonly seq: Generated<number>;
  readonly at: number;
  readonly actor: string;
  readonly scheme: string | null;
  readonly credential_id: string | null;
  readonly action: string;
  readonly target: string;
  readonly details: string;
  readonly request_id: string;
}

export interface OutboxTable {
  readonly seq: Generated<number>;
  readonly at: number;
  /** Null: for every relay. */
  readonly relay_id: string | null;
  readonly message: string;
}

import { OperationContext, Penalties } from "@turnpike/authn";
import { createTurnAuthenticator, createRevocationList, portalStamps, sharedSecrets } from "@turnpike/authn/turn";
import { type Portal, type PortalOptions, type Role, startPortal } from "@turnpike/portal";
import { createSystemClock, type Relay, type RelayOptions } from "@turnpike/relay";
import { createStampSecret, PortalLink, PortalOrders, RelayReporter } from "@turnpike/relay/link";
import { formatTransportAddress } from "@turnpike/stun";
import { keep, startTestRelay } from "./relay.ts";

export const internal = OperationContext.internal("test");

/** A failure is answered at once, and nobody is shut out: tests fail often. */
export const NO_PENALTIES = { delay: { kind: "constant", minSeconds: 0, maxSeconds: 0 }, automaticBan: false } as const;

/** A portal on loopback that is stopped at the end of the test. */
export async function startTestPortal(options: Partial<PortalOptions> = {}): Promise<TestPortal> {
  const portal = await startPortal({
    store: ":memory:",
    listen: "127.0.0.1:0",
    penalties: new Penalties(NO_PENALTIES),
    requestsPerMinute: 100_000,
    ...options,
  });
  return keep(new TestPortal(portal));
}

/** One entry of `iceServers`. */
export interface IceServer {
  readonly urls: string[];
  readonly username?: string;
  readonly credential?: string;
}

/** What answers may hold; each has some of it. */
export interface AnswerBody {
  readonly iceServers: readonly IceServer[];
  readonly expiresAt: string;
  readonly username: string;
  readonly password: string;
  readonly uris: string[];
  readonly token: string;
  readonly csrfToken: string;
  readonly allocations: readonly { readonly id: string; readonly username: string }[];
  readonly relays: readonly {
    readonly id: string;
    readonly name: string;
    readonly linked: boolean;
    readonly urls: readonly string[];
    readonly reference?: string;
  }[];
  readonly tokens: readonly { readonly actor: string }[];
  readonly entries: readonly {
    readonly seq: number;
    readonly action: string;
    readonly details: { readonly usernames: readonly string[] };
  }[];
}

/** A portal, and requests to it. */
export class TestPortal implements AsyncDisposable {
  readonly portal: Portal;
  readonly admin: string;

  constructor(portal: Portal) {
    this.portal = portal;
    this.admin = portal.firstStart?.token ?? "";
  }

  /** A request with a bearer token: the administrator's, unless another is given; `""`: none. */
  async request(
    method: string,
    path: string,
    {
      token = this.admin,
      body,
      headers = {},
    }: { token?: string; body?: unknown; headers?: Record<string, string> } = {},
  ): Promise<{ status: number; body: AnswerBody; headers: Headers }> {
    const response = await fetch(this.portal.url + path, {
      method,
      redirect: "manual",
      headers: {
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type")?.includes("json") === true;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }

  /** A user with those roles, and a token of theirs. */
  async userToken(id: string, roles: readonly Role[]): Promise<string> {
    await this.portal.services.users.create(internal, { id, kind: "user", roles });
    const actor = { kind: "user", id, roles } as const;
    return (await this.portal.services.tokens.create(internal, { actor, label: "test" })).token.reveal();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.portal.stop();
  }
}

/** A relay that is linked to a portal as the command links it. */
export interface LinkedTestRelay extends AsyncDisposable {
  readonly relay: Relay;
  readonly link: PortalLink;
  /** Names that are revoked here. */
  readonly revoked: string[];
  readonly messages: string[];
}

/** Starts a relay that waits for its portal's init before it serves. */
export async function startLinkedRelay(
  portalUrl: string,
  token: string,
  { limits = {}, admissionStore }: Pick<RelayOptions, "limits" | "admissionStore"> = {},
): Promise<LinkedTestRelay> {
  const revoked: string[] = [];
  const messages: string[] = [];
  const started: { relay?: Relay } = {};
  const stampSecret = createStampSecret();
  const clock = createSystemClock();
  const revocations = createRevocationList({
    onRevoked: ({ by, value }) => {
      revoked.push(value);
      void started.relay?.endAllocations({ by, value }, "credentialRevoked");
    },
  });
  const orders = new PortalOrders({
    revoke: ({ by, value, until_unix_ms: untilUnixMs }) =>
      revocations.revoke({ by, value, untilUnixMs }, { nowUnixMs: Date.now() }),
  });
  const authenticator = createTurnAuthenticator({
    realm: "turnpike",
    revocations,
    schemes: [portalStamps({ stampSecrets: [stampSecret] }), sharedSecrets({ secrets: () => orders.fleetSecrets })],
  });
  const link = new PortalLink({
    portal: { url: portalUrl },
    token,
    stampSecret,
    backOff: { initialMs: 10, maxMs: 100 },
    onReady: () => reporter.handleReady(),
    onAway: () => reporter.handleAway(),
    onMessage: (message) => {
      messages.push(message.event);
      orders.handle(message);
    },
  });
  const reporter = new RelayReporter({
    link,
    clock,
    batchMs: 10,
    presence: () => ({
      load: 0.1,
      version: "0.1.0",
      draining: false,
      urls: (started.relay?.listening ?? [])
        .filter(({ local }) => local.family === 4)
        .map(({ local }) => `turn:${formatTransportAddress(local)}?transport=udp`),
    }),
  });
  link.connect({ name: "test", ipv4: "127.0.0.1", port: 3478 });
  await link.ready;
  const relay = await startTestRelay({
    penalties: false,
    limits: { ...limits, limitsFor: orders.limitsFor },
    ...(admissionStore === undefined ? {} : { admissionStore }),
    authenticate: (request) => authenticator.authenticate(request),
    onEvent: (event) => reporter.handleEvent(event),
  });
  started.relay = relay;
  orders.setRelay(relay);
  reporter.reportPresence();
  return keep({
    relay,
    link,
    revoked,
    messages,
    async [Symbol.asyncDispose]() {
      reporter.stop();
      link.stop();
    },
  });
}

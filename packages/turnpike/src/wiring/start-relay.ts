import { isDeepStrictEqual } from "node:util";
import {
  createRevocationList,
  normalizeUser,
  type RevocationList,
  type Secrets,
  type TurnAuthenticator,
} from "@turnpike/authn/turn";
import { type AdmissionStore, type Relay, startRelay, type TlsIdentity } from "@turnpike/relay";
import type { LifecycleEvent } from "@turnpike/turn";
import type { Credentials } from "../config/credentials.ts";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { authenticatorData, type AuthenticatorData, createAuthenticator } from "./authenticator.ts";
import type { LinkParts } from "./link.ts";
import type { Question } from "./ask-for-answers.ts";
import { answerQuestion, createSlowAnswers } from "./questions.ts";
import { connectFleetLoads, type Fleet, leavingFleet, redirectOf } from "./redirect.ts";
import { certificateOf, relayLimitsOf, relayOptionsOf } from "./relay-options.ts";
import type { Notice } from "./thread-authenticator.ts";

/** What {@link startConfiguredRelay} goes by. */
export interface StartConfiguredRelayOptions {
  readonly configuration: Configuration;
  readonly credentials: Credentials;
  readonly logger: Logger;
  /** What the relay told its portal to stamp credentials with. Default: there is no portal. */
  readonly stampSecrets?: Secrets;
  /** Linked to its portal before the relay serves. Default: there is no portal. */
  readonly link?: LinkParts | undefined;
  readonly onEvent?: ((event: LifecycleEvent) => void) | undefined;
  /** The key that references name the relay by. */
  readonly identity?: TlsIdentity | undefined;
}

/** A relay and what is refused at it. */
export interface ConfiguredRelay {
  readonly relay: Relay;
  /** What is revoked here is refused from that moment on, and the allocations that live by it end. */
  readonly revocations: RevocationList;
  /**
   * Takes users, secrets, schemes, limits, rules for peers and the certificate over in place of those that were; living allocations stay.
   * The realm, and what challenges offer, stay as they were at the start.
   *
   * @throws TypeError or RangeError if they can't be used; then nothing has changed.
   */
  reconfigure(next: { readonly configuration: Configuration; readonly credentials: Credentials }): {
    /** False: other users or schemes would have challenges offer something else, which takes a restart. */
    readonly offersStay: boolean;
  };
}

/**
 * Starts a relay as configured.
 *
 * @throws TypeError or RangeError if parts of the configuration don't fit together, RelayStartError if the system
 *   refuses.
 */
export async function startConfiguredRelay(options: StartConfiguredRelayOptions): Promise<ConfiguredRelay> {
  const { logger, link } = options;
  const stampSecrets = link === undefined ? options.stampSecrets : [link.stampSecret];
  let { configuration, credentials } = options;
  // A portal may revoke before the relay serves: nothing lives then that could be ended.
  const started: { relay?: Relay } = {};
  const fleet: Fleet = { loads: undefined };
  const tell = (notice: Notice): void => started.relay?.tellAuthenticators(notice);
  const revocations = createRevocationList({
    onRevoked: (revocation) => {
      const { by, value } = revocation;
      // Told first: what is being authenticated meanwhile is refused by it, or ended below.
      tell({ kind: "revoked", revocation });
      const selector = { by, value: by === "actor" ? normalizeUser(value) : value };
      void started.relay?.endAllocations(selector, "credentialRevoked").then((ended) => {
        logger.info({ by, ended }, "Credentials were revoked");
      });
    },
    onOverflow: ({ by }) => logger.warn({ by }, "The list of revocations is full: one of them is in force no more"),
  });
  const describe = (): AuthenticatorData =>
    authenticatorData({
      configuration,
      credentials,
      logger,
      stampSecrets: stampSecrets && textsOf(stampSecrets),
      fleetSecrets: link?.orders.fleetSecrets,
      revocations: revocations.list({ nowUnixMs: Date.now() }),
    });
  let answers = createSlowAnswers(configuration, credentials);
  // Each thread makes its own: this one tells what is wrong, and what challenges offer.
  const create = (): TurnAuthenticator => createAuthenticator({ data: describe(), answers, revocations, logger });
  const authenticator = create();
  const relayOptions = relayOptionsOf({
    configuration,
    authenticator,
    authenticate: {
      module: THREAD_AUTHENTICATOR,
      data: describe,
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- asked by the module alone
      answer: (question) => answerQuestion(answers, question as Question),
    },
    limitsFor: link?.orders.limitsFor,
    redirect: redirectOf(configuration, () => fleet.loads?.relays() ?? []),
    logger,
    onEvent: options.onEvent,
  });
  if (link !== undefined) {
    logger.info({}, "Waiting for the portal's init");
    link.setRevocations(revocations);
    await link.connect();
  }
  const { store: url } = configuration.quota;
  const admissionStore = url === undefined ? undefined : leavingFleet(await connectQuotaStore(url, logger), fleet);
  let relay: Relay;
  try {
    fleet.loads = await connectFleetLoads(configuration, { relay: () => started.relay, logger });
    relay = await startRelay({
      ...relayOptions,
      ...(options.identity && { identity: options.identity }),
      ...(admissionStore && { admissionStore }),
    });
  } catch (error) {
    await admissionStore?.close();
    throw error;
  }
  started.relay = relay;
  link?.setRelay(relay);
  link?.onFleetSecrets(() => tell({ kind: "replaced", data: describe() }));
  if (authenticator.schemes.length === 0) {
    logger.warn({}, "Neither users nor secrets, OAuth keys or a webhook are configured: nobody can allocate");
  }
  return {
    relay,
    revocations,
    reconfigure(next) {
      const former = { configuration, credentials, answers };
      const { realm } = configuration.relay;
      configuration = { ...next.configuration, relay: { ...next.configuration.relay, realm } };
      ({ credentials } = next);
      try {
        answers = createSlowAnswers(configuration, credentials);
        const { least_loaded: joined } = options.configuration.redirect;
        const redirect = redirectOf(
          // Which fleet it is in was settled at the start.
          { redirect: { ...configuration.redirect, least_loaded: joined } },
          () => fleet.loads?.relays() ?? [],
        );
        const limits = relayLimitsOf(configuration, { limitsFor: link?.orders.limitsFor, redirect });
        const offers = offersOf(create());
        // The last that may be refused.
        relay.reloadCertificate(certificateOf(configuration));
        relay.configure(limits);
        // To hold what stands to rules takes a look at all of it.
        if (!isDeepStrictEqual(configuration.peers, former.configuration.peers))
          relay.replacePeers(configuration.peers);
        tell({ kind: "replaced", data: describe() });
        return { offersStay: isDeepStrictEqual(offers, offersOf(authenticator)) };
      } catch (error) {
        ({ configuration, credentials, answers } = former);
        throw error;
      }
    },
  };
}

/** What a relay's challenges say of its users, from its start on. */
function offersOf({ passwordAlgorithms, usernameAnonymity, thirdPartyAuthorization }: TurnAuthenticator): unknown {
  return { passwordAlgorithms, usernameAnonymity, thirdPartyAuthorization };
}

function textsOf(secrets: Secrets): readonly string[] {
  const listed = typeof secrets === "function" ? secrets() : secrets;
  return listed.map((secret) => (typeof secret === "string" ? secret : secret.reveal()));
}

const THREAD_AUTHENTICATOR = new URL(
  import.meta.url.endsWith(".ts") ? "./thread-authenticator.ts" : "./thread-authenticator.js",
  import.meta.url,
).href;

async function connectQuotaStore(url: string, logger: Logger): Promise<AdmissionStore> {
  try {
    // Loaded only where it is used.
    const { RedisAdmissionStore } = await import("@turnpike/relay/redis");
    return await RedisAdmissionStore.connect({ url, logger });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`quota.store: can't be reached: ${reason}`, { exitCode: 1, cause: error });
  }
}

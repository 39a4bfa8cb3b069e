import { attribute, type EncodedAttribute, findAttribute, nonce, type TransportAddress } from "@turnpike/stun";
import { addressErrorCode, alternateDomain, alternateServer, lifetime } from "@turnpike/stun";
import { reservationToken, xorMappedAddress, xorRelayedAddress } from "@turnpike/stun";
import { Allocation, isSameUser, type Credential } from "./allocation.ts";
import { readAllocateRequest, type AllocateDemand } from "./allocate-request.ts";
import { changeMeters } from "./channel-outputs.ts";
import type { Authenticated } from "./authenticate.ts";
import type { Answer, Now } from "./contract.ts";
import type { Core, IncomingRequest } from "./core.ts";
import type { AllocationLimits, LimitChange } from "./limits.ts";
import { grantLifetime } from "./refresh.ts";
import type { Mobility } from "./mobility.ts";
import { fiveTupleName } from "./registry.ts";
import { failure, replyAuthenticated, success, type Answering } from "./reply.ts";
import { TrafficReports } from "./traffic-reports.ts";
import { ReservationTokens } from "./reservation-tokens.ts";

/** RFC 8656 §7.2: a reservation is held for at least 30 seconds. */
const RESERVATION_LIFETIME_MS = 40_000;
/** Held ports outlive their allocations, so no quota of allocations bounds them. */
const MAX_RESERVATIONS_PER_ACTOR = 32;

/** An Allocate request whose questions to the world are open. Its five-tuple is taken. */
interface UnderWay {
  /** Of its five-tuple. */
  readonly name: string;
  readonly request: IncomingRequest;
  readonly authenticated: Authenticated;
  readonly demand: AllocateDemand;
  admissionQuestionId: number | undefined;
  maxLifetimeSeconds: number;
  limits: AllocationLimits | undefined;
  /** The question that is open. */
  questionId: number;
  /** The client is gone: what is still opened will be closed again. */
  cancelled: boolean;
}

type AllocateAnswer = Extract<Answer, { readonly kind: "admission" | "relaySocketOpened" | "relaySocketFailed" }>;
type AdmissionAnswer = Extract<Answer, { readonly kind: "admission" }>;
type OpenedAnswer = Extract<Answer, { readonly kind: "relaySocketOpened" }>;

/**
 * RFC 8656 §7.2. An allocation comes to be in three steps: the request is checked, admission is asked for (if
 * configured), the relay socket is opened. Only then is success answered; whatever fails gives back what was taken.
 */
export class AllocateHandler {
  readonly #core: Core;
  readonly #tokens: ReservationTokens;
  readonly #mobility: Mobility;
  readonly #reports: TrafficReports;
  readonly #byQuestion = new Map<number, UnderWay>();
  readonly #byFiveTuple = new Map<string, UnderWay>();
  /** Admitted ones that live or are being made, by the question of their admission. */
  readonly #byAdmission = new Map<number, Allocation | UnderWay>();
  /** Reservations of each actor whose time isn't over, those that are being made included. */
  readonly #reservations = new Map<string, number>();

  constructor(core: Core, mobility: Mobility) {
    this.#core = core;
    this.#mobility = mobility;
    this.#reports = new TrafficReports(core);
    this.#tokens = new ReservationTokens({ key: core.options.nonceKey, crypto: core.crypto });
    core.beforeDelete.push(({ admissionQuestionId }) => {
      if (admissionQuestionId !== undefined) this.#byAdmission.delete(admissionQuestionId);
    });
  }

  /** Whether this request is a retransmission of one that is being worked on. */
  isUnderWay(request: IncomingRequest): boolean {
    if (this.#byFiveTuple.size === 0) return false;
    const underWay = this.#byFiveTuple.get(fiveTupleName(request.client));
    return underWay !== undefined && sameBytes(underWay.request.message.transactionId, request.message.transactionId);
  }

  handle(request: IncomingRequest, authenticated: Authenticated, now: Now): void {
    // Step 2: one allocation for each five-tuple; a retransmission gets its success again.
    const { listener, remote } = request.client;
    const existing = this.#core.registry.findAllocation(listener, remote);
    if (existing !== undefined) {
      const retransmitted =
        sameBytes(existing.transactionId, request.message.transactionId) &&
        isSameUser(existing.credential, authenticated.credential);
      const answer = retransmitted ? this.#success(existing, now) : failure(437, "Allocation Mismatch");
      replyAuthenticated(this.#core, request, answer, authenticated.proof);
      return;
    }
    const name = fiveTupleName(request.client);
    if (this.#byFiveTuple.has(name)) {
      replyAuthenticated(this.#core, request, failure(437, "Allocation Mismatch"), authenticated.proof);
      return;
    }

    // RFC 8016 §3.1.2.
    const immobile = this.#mobility.refusal(request.message);
    if (immobile !== undefined) {
      replyAuthenticated(this.#core, request, immobile, authenticated.proof);
      return;
    }

    // Steps 3 to 9.
    const demand = readAllocateRequest(request.message, {
      families: this.#core.families,
      tokens: this.#tokens,
      actor: authenticated.credential.actor,
      tcpRelay: this.#core.options.tcpRelay ?? false,
      isStream: this.#core.isStream(request.client.listener),
    });
    if ("refusal" in demand) {
      this.#refuse(request, authenticated, demand.refusal.code, demand.refusal.reason, now);
      return;
    }
    const { actor } = authenticated.credential;
    if (demand.port === "evenPair") {
      if ((this.#reservations.get(actor) ?? 0) >= MAX_RESERVATIONS_PER_ACTOR) {
        this.#refuse(request, authenticated, 486, "Allocation Quota Reached: too many reserved ports", now);
        return;
      }
      this.#countReservation(actor, 1);
    }
    const underWay: UnderWay = {
      name,
      request,
      authenticated,
      demand,
      admissionQuestionId: undefined,
      maxLifetimeSeconds: Number.POSITIVE_INFINITY,
      limits: undefined,
      questionId: this.#core.nextQuestionId(),
      cancelled: false,
    };
    this.#byFiveTuple.set(name, underWay);
    this.#byQuestion.set(underWay.questionId, underWay);
    // Step 10.
    if (this.#core.options.admission === true) this.#askAdmission(underWay);
    else this.#openSocket(underWay);
  }

  handleAnswer(answer: AllocateAnswer, now: Now): void {
    const underWay = this.#byQuestion.get(answer.questionId);
    if (underWay === undefined) return;
    this.#byQuestion.delete(answer.questionId);
    switch (answer.kind) {
      case "admission":
        this.#admitted(underWay, answer, now);
        return;
      case "relaySocketOpened":
        this.#opened(underWay, answer, now);
        return;
      case "relaySocketFailed":
        this.#release(underWay);
        if (!underWay.cancelled) {
          this.#refuse(underWay.request, underWay.authenticated, answer.code, answer.reason, now);
        }
        return;
    }
  }

  /** The client of a five-tuple is gone. */
  cancel(listener: number, remote: TransportAddress): void {
    const underWay = this.#byFiveTuple.get(fiveTupleName({ listener, remote }));
    if (underWay === undefined) return;
    underWay.cancelled = true;
    this.#byFiveTuple.delete(underWay.name);
  }

  /** What `matches` comes to nothing: a revocation or an administrator was quicker. */
  cancelThose(matches: (credential: Credential, client: TransportAddress) => boolean): void {
    for (const [name, underWay] of this.#byFiveTuple) {
      if (!matches(underWay.authenticated.credential, underWay.request.client.remote)) continue;
      underWay.cancelled = true;
      this.#byFiveTuple.delete(name);
    }
  }

  /** Holds an allocation to other limits. */
  changeLimits({ questionId, limits, maxLifetimeSeconds = Number.POSITIVE_INFINITY }: LimitChange): void {
    const admitted = this.#byAdmission.get(questionId);
    if (admitted === undefined) return;
    admitted.maxLifetimeSeconds = maxLifetimeSeconds;
    if (admitted instanceof Allocation) {
      const { actor } = admitted.credential;
      changeMeters(this.#core, admitted, this.#core.options.metersFor?.({ actor, limits }));
    } else {
      admitted.limits = limits;
    }
  }

  cancelAll(): void {
    for (const underWay of this.#byFiveTuple.values()) underWay.cancelled = true;
    this.#byFiveTuple.clear();
  }

  #askAdmission(underWay: UnderWay): void {
    underWay.admissionQuestionId = underWay.questionId;
    const { credential } = underWay.authenticated;
    this.#core.output({
      kind: "admit",
      questionId: underWay.questionId,
      username: credential.username,
      actor: credential.actor,
      scheme: credential.scheme,
      listener: underWay.request.client.listener,
      client: underWay.request.client.remote,
    });
  }

  #admitted(underWay: UnderWay, answer: AdmissionAnswer, now: Now): void {
    if (!answer.admitted) {
      underWay.admissionQuestionId = undefined;
      this.#release(underWay);
      if (!underWay.cancelled) this.#notAdmitted(underWay, answer, now);
      return;
    }
    if (underWay.cancelled) {
      this.#release(underWay);
      return;
    }
    this.#byAdmission.set(answer.questionId, underWay);
    underWay.maxLifetimeSeconds = answer.maxLifetimeSeconds ?? Number.POSITIVE_INFINITY;
    underWay.limits = answer.limits;
    underWay.questionId = this.#core.nextQuestionId();
    this.#byQuestion.set(underWay.questionId, underWay);
    this.#openSocket(underWay);
  }

  #notAdmitted({ request, authenticated }: UnderWay, answer: AdmissionAnswer, now: Now): void {
    const { alternateServer: server, alternateDomain: domain } = answer;
    const code = answer.code ?? 486;
    // RFC 8489 §10: a redirection names a server of the family that the client came by.
    if (code === 300 && server?.family !== request.client.remote.family) {
      this.#refuse(request, authenticated, 508, "Insufficient Capacity: no alternate server", now);
      return;
    }
    const attributes: EncodedAttribute[] = [];
    if (server !== undefined) attributes.push(attribute(alternateServer, server));
    if (domain !== undefined) attributes.push(attribute(alternateDomain, domain));
    const reason = answer.reason ?? (code === 486 ? "Allocation Quota Reached" : "Refused");
    this.#refuse(request, authenticated, code, reason, now, attributes);
  }

  #openSocket(underWay: UnderWay): void {
    const { demand, questionId } = underWay;
    this.#core.output({
      kind: "openRelaySocket",
      questionId,
      transport: demand.transport,
      families: demand.families,
      port: demand.port,
      ...(demand.reservation === undefined ? {} : { reservation: demand.reservation }),
    });
  }

  #opened(underWay: UnderWay, answer: OpenedAnswer, now: Now): void {
    const { request, authenticated, demand } = underWay;
    const admissionQuestionId = underWay.admissionQuestionId;
    const seconds = grantLifetime(
      this.#core,
      { credential: authenticated.credential, maxLifetimeSeconds: underWay.maxLifetimeSeconds },
      demand.lifetimeSeconds,
      now,
    );
    if (underWay.cancelled || seconds <= 0) {
      for (const { socket } of answer.sockets) this.#core.output({ kind: "closeRelaySocket", socket });
      if (answer.reservation !== undefined) {
        this.#core.output({ kind: "releaseReservation", reservation: answer.reservation });
      }
      this.#release(underWay);
      if (!underWay.cancelled) this.#refuse(request, authenticated, 401, "The credential has expired", now);
      return;
    }
    underWay.admissionQuestionId = undefined;
    this.#release(underWay);
    const { actor } = authenticated.credential;
    const allocation = new Allocation({
      id: this.#core.nextAllocationId(),
      transport: demand.transport,
      client: request.client,
      credential: authenticated.credential,
      transactionId: request.message.transactionId.slice(),
      createdAtMs: now.monotonicMs,
      admissionQuestionId,
      relays: answer.sockets.map((socket) => ({ ...socket, expiresAtMs: now.monotonicMs + seconds * 1000 })),
      reservationToken: answer.reservation === undefined ? undefined : this.#tokens.issue(answer.reservation, actor),
      addressError: answer.failures?.[0],
      maxLifetimeSeconds: underWay.maxLifetimeSeconds,
    });
    // Its request was proven, and came from where the allocation's client is.
    allocation.nonce = findAttribute(request.message, nonce)?.value.slice();
    this.#core.registry.addAllocation(allocation);
    if (admissionQuestionId !== undefined) {
      this.#byAdmission.set(admissionQuestionId, allocation);
      this.#core.output({ kind: "commitAdmission", questionId: admissionQuestionId });
    }
    this.#reports.begin(allocation, now);
    this.#mobility.begin(allocation, request.message);
    allocation.meters = this.#core.options.metersFor?.({ actor, limits: underWay.limits });
    if (this.#core.wants("allocationCreated")) {
      this.#core.event({
        type: "allocationCreated",
        context: this.#core.context(allocation, now),
        lifetimeSeconds: seconds,
        requestedPort: demand.port,
        families: demand.families,
      });
    }
    if (answer.reservation !== undefined) this.#holdReservation(answer.reservation, actor, now);
    replyAuthenticated(this.#core, request, this.#success(allocation, now), authenticated.proof);
  }

  /** Whoever claims the port first has it; the relay ignores the release of a port that was claimed. */
  #holdReservation(reservation: number, actor: string, now: Now): void {
    this.#countReservation(actor, 1);
    const ring = (): void => {
      this.#countReservation(actor, -1);
      this.#core.output({ kind: "releaseReservation", reservation });
    };
    this.#core.registry.timers.set({ kind: "alarm", ring }, now.monotonicMs + RESERVATION_LIFETIME_MS);
  }

  #countReservation(actor: string, change: 1 | -1): void {
    const count = (this.#reservations.get(actor) ?? 0) + change;
    if (count === 0) this.#reservations.delete(actor);
    else this.#reservations.set(actor, count);
  }

  #release(underWay: UnderWay): void {
    if (underWay.demand.port === "evenPair") this.#countReservation(underWay.authenticated.credential.actor, -1);
    const { name } = underWay;
    if (this.#byFiveTuple.get(name) === underWay) this.#byFiveTuple.delete(name);
    if (underWay.admissionQuestionId !== undefined) {
      this.#byAdmission.delete(underWay.admissionQuestionId);
      this.#core.output({ kind: "releaseAdmission", questionId: underWay.admissionQuestionId });
    }
  }

  #refuse(
    request: IncomingRequest,
    authenticated: Authenticated,
    code: number,
    reason: string,
    now: Now,
    attributes: readonly EncodedAttribute[] = [],
  ): void {
    if (this.#core.wants("allocationRefused")) {
      this.#core.event({
        type: "allocationRefused",
        code,
        reason,
        username: authenticated.credential.username,
        actor: authenticated.credential.actor,
        fiveTuple: this.#core.fiveTuple(request.client),
        atUnixMs: now.unixMs,
      });
    }
    replyAuthenticated(this.#core, request, failure(code, reason, ...attributes), authenticated.proof);
  }

  #success(allocation: Allocation, now: Now): Answering {
    const attributes = allocation.relays.map((relay) => attribute(xorRelayedAddress, relay.relayed));
    const leftMs = allocation.expiresAtMs - now.monotonicMs;
    attributes.push(
      attribute(lifetime, Math.max(0, Math.round(leftMs / 1000))),
      attribute(xorMappedAddress, allocation.client.remote),
    );
    if (allocation.reservationToken !== undefined) {
      attributes.push(attribute(reservationToken, allocation.reservationToken));
    }
    if (allocation.addressError !== undefined) {
      const { family, code } = allocation.addressError;
      const reason = code === 440 ? "Address Family not Supported" : "Insufficient Capacity";
      attributes.push(attribute(addressErrorCode, { family, code, reason }));
    }
    return success(...attributes, ...this.#mobility.attributes(allocation));
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

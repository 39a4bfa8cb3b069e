import type { TurnClientError } from "../errors.ts";
import type { ServerCandidate } from "../resolve.ts";
import type { CheckStep } from "./report.ts";

/** What usually helps when a step failed, for people; undefined where nothing general can be said. */
export function hintFor(step: CheckStep, error: TurnClientError, candidate: ServerCandidate): string | undefined {
  switch (error.code) {
    case "certificateRejected":
      return `the certificate must be for ${candidate.serverName} and of an authority that is trusted: name that by --ca, or the key by --pin`;
    case "notConnected":
    case "transportFailed":
      return hintForConnection(error, candidate);
    case "timeout":
      return silence(candidate);
    case "credentialsRequired":
      return error.failure?.code === "credentialsRequired" && error.failure.thirdPartyAuthorization !== undefined
        ? undefined
        : "give --username and --credential-file (or TURNPIKE_USERNAME and TURNPIKE_CREDENTIAL)";
    case "unauthenticated":
      return "check both; a time-limited credential may have expired, or the server may have another shared secret";
    case "integrityViolated":
    case "malformedResponse":
      return "what answers there may be no TURN server, or something on the way changes its answers";
    case "refused":
      return error.serverCode === undefined ? undefined : hintForRefusal(step, error.serverCode);
    default:
      return undefined;
  }
}

/** Datagrams that the server took and that did not come back. */
export function hintForLoss(hasPeer: boolean): string {
  return hasPeer
    ? "does the peer send back what it gets, and do its firewall and the server's let UDP pass between them?"
    : "the server allocates but doesn't relay between two of its own addresses: are its relay ports open for UDP, and its external address right? behind NAT, name a peer of your own by --peer";
}

function hintForConnection(error: TurnClientError, candidate: ServerCandidate): string | undefined {
  const what = `${protocolOf(candidate)} port ${candidate.address.port}`;
  if (/ECONNREFUSED/u.test(error.message)) {
    return `nothing listens there on ${what}: does the server run, and is this its address and port?`;
  }
  if (/EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL/u.test(error.message)) return "this machine has no route to that address";
  if (/ETIMEDOUT|no answer/u.test(error.message)) return silence(candidate);
  if (/no.application.protocol/iu.test(error.message)) {
    return "the server knows no protocol of ours (ALPN stun.turn): is this its port for TURN?";
  }
  return candidate.transport === "udp" || candidate.transport === "dtls"
    ? undefined
    : `what listens on ${what} may speak something else than ${candidate.transport}`;
}

function silence(candidate: ServerCandidate): string {
  const what = `${protocolOf(candidate)} port ${candidate.address.port}`;
  return `a firewall may drop packets on the way, or no TURN server listens: is ${what} open from here?`;
}

function protocolOf({ transport }: ServerCandidate): "UDP" | "TCP" {
  return transport === "udp" || transport === "dtls" ? "UDP" : "TCP";
}

function hintForRefusal(step: CheckStep, serverCode: number): string | undefined {
  switch (serverCode) {
    case 403:
      return step === "permission" || step === "tcp relay"
        ? "the server's policy forbids this peer: allow its address there (turnpike relay: --allow-peer), or name another by --peer"
        : "the server's policy forbids it to this user or address";
    case 486:
      return "the user has as many allocations as the server's quota lets it; check needs up to four";
    case 508:
      return "the server has no relay port left, or can't open one";
    default:
      return undefined;
  }
}

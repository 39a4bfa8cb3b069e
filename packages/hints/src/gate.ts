import { isIP } from "node:net";
import type { Duplex } from "node:stream";
import { classifyAddress, createAddressPolicy, type AddressPolicyOptions } from "./address-policy.ts";
import { abortable } from "./clock.ts";
import type { Dialer, DialTarget, Resolver } from "./network.ts";

/** What hints may do. Local configuration; nothing in a hint can change it. */
export interface HintPolicy extends AddressPolicyOptions {
  /**
   * False hides this machine's address: nothing is resolved and nothing is dialled or bound except towards Tor.
   * Default true.
   */
  readonly revealIpAddress?: boolean;
  /** True lets hints reach Unix sockets of this machine. Default false. */
  readonly unixSockets?: boolean;
}

/** The policy forbids it. The message says which rule, and how to change it. */
export class PolicyError extends Error {
  override readonly name = "PolicyError";
  readonly code: "address-refused" | "would-reveal-address" | "unix-refused" | "route-disabled";

  constructor(code: PolicyError["code"], message: string) {
    super(message);
    this.code = code;
  }
}

/** The network as handlers see it: every name and every dial passes the gate. */
export interface Network {
  /**
   * The addresses of a name that policy lets be dialled. `localhost` and names below it are loopback and ask nobody
   * (RFC 6761 §6.3).
   *
   * @throws PolicyError if names must not be resolved, or if every address found is refused.
   */
  resolve(name: string, options: { readonly family: 4 | 6; readonly signal: AbortSignal }): Promise<readonly string[]>;
  /**
   * Opens a stream.
   *
   * @param target `spelledOut` is true if the hint itself wrote the address, false if a name led to it.
   * @throws PolicyError before any packet leaves.
   */
  dial(
    target: DialTarget & { readonly spelledOut?: boolean },
    options: { readonly signal: AbortSignal },
  ): Promise<Duplex>;
}

/** Both sides of the gate. */
export interface Gate {
  /** For handlers. */
  readonly network: Network;
  /**
   * For the code that speaks to Tor or to a proxy: it reaches the given targets of local configuration and no others.
   * A `tor` may also be reached on loopback and Unix sockets, where one that is launched here listens. Proxies other
   * than Tor are refused while the address must stay hidden.
   */
  configured(kind: "tor" | "proxy", targets: readonly DialTarget[]): ConfiguredNetwork;
  /**
   * Asks whether a host may be named to Tor or to a proxy. Numeric addresses must be global or on the allow list: what
   * is private here is another's there.
   *
   * @throws PolicyError
   */
  checkRemote(host: string): void;
  /** The policy that the gate enforces. */
  readonly policy: HintPolicy;
  /**
   * Asks whether a listener may bind there.
   *
   * @throws PolicyError if that would reveal the address.
   */
  checkListen(target: DialTarget): void;
}

/** A way to a few fixed places. */
export interface ConfiguredNetwork {
  /** Opens a stream to one of them. */
  dial(target: DialTarget, options: { readonly signal: AbortSignal }): Promise<Duplex>;
}

/**
 * Makes the gate. It stands below every protocol: a handler gets no other way to the network, and the addresses that it
 * checks are the addresses that are dialled, so that a name cannot change its mind in between.
 */
export function createGate(options: {
  readonly policy: HintPolicy;
  readonly dialer: Dialer;
  readonly resolver: Resolver;
}): Gate {
  const { policy, dialer, resolver } = options;
  const addresses = createAddressPolicy(policy);
  const reveal = policy.revealIpAddress ?? true;

  /** Even a dialer that minds no signal keeps nobody waiting, and leaves nothing open. */
  const open = (target: DialTarget, signal: AbortSignal): Promise<Duplex> =>
    abortable(dialer.dial(target, { signal }), signal, (late) => late.destroy());

  const network: Network = {
    async resolve(name, { family, signal }) {
      if (isIP(name) !== 0) throw new TypeError(`Cannot resolve ${name}: it is an address, not a name`);
      if (isLocalhost(name)) return [family === 4 ? "127.0.0.1" : "::1"];
      if (isOnion(name)) throw new PolicyError("address-refused", `${name} is an onion name: reach it with tor:`);
      if (!reveal) {
        throw new PolicyError(
          "would-reveal-address",
          `Asking a name server for ${name} would reveal this machine's address (reveal_ip_address is false)`,
        );
      }
      const found = await resolver.resolve(name, { family, signal });
      const permitted = found.filter(
        (address) => isIP(address) === family && addresses.refusal(address, { spelledOut: false }) === undefined,
      );
      if (permitted.length === 0) {
        const reasons = found.map(
          (address) => addresses.refusal(address, { spelledOut: false }) ?? `${address} is odd`,
        );
        throw new PolicyError(
          "address-refused",
          `No usable address for ${name}: ${reasons.join("; ") || "none found"}`,
        );
      }
      return permitted;
    },
    async dial(target, { signal }) {
      if (target.kind === "unix") {
        if (policy.unixSockets !== true) {
          throw new PolicyError("unix-refused", "Hints must not reach Unix sockets (allow it with unixSockets)");
        }
        return open({ kind: "unix", path: target.path }, signal);
      }
      if (!reveal) {
        throw new PolicyError(
          "would-reveal-address",
          `Connecting to ${target.address} directly would reveal this machine's address (reveal_ip_address is false)`,
        );
      }
      const refusal = addresses.refusal(target.address, { spelledOut: target.spelledOut ?? false });
      if (refusal !== undefined) throw new PolicyError("address-refused", `Refused: ${refusal}`);
      return open({ kind: "tcp", address: target.address, port: target.port }, signal);
    },
  };

  return {
    network,
    policy,
    configured: (kind, targets) => ({
      async dial(target, { signal }) {
        const known = targets.some((configured) => describeTarget(configured) === describeTarget(target));
        const local = kind === "tor" && (target.kind === "unix" || isLoopback(target.address));
        if (!known && !local) {
          throw new PolicyError("address-refused", `${describeTarget(target)} is not configured as a ${kind} address`);
        }
        if (kind !== "tor" && !reveal) {
          throw new PolicyError(
            "would-reveal-address",
            `The proxy ${describeTarget(target)} would learn this machine's address (reveal_ip_address is false)`,
          );
        }
        return open(target, signal);
      },
    }),
    checkRemote(host) {
      if (isLocalhost(host)) throw new PolicyError("address-refused", `Refused: ${host} means this machine`);
      const refusal = isIP(host) === 0 ? undefined : addresses.remoteRefusal(host);
      if (refusal !== undefined) throw new PolicyError("address-refused", `Refused: ${refusal}`);
    },
    checkListen(target) {
      if (reveal || target.kind === "unix" || isLoopback(target.address)) return;
      throw new PolicyError(
        "would-reveal-address",
        `Listening on ${describeTarget(target)} would reveal this machine's address (reveal_ip_address is false)`,
      );
    },
  };
}

/** `localhost`, or a name below it. */
export function isLocalhost(name: string): boolean {
  return name === "localhost" || name.endsWith(".localhost");
}

/** A name of the Tor network (RFC 7686): name servers must never be asked for it. */
export function isOnion(name: string): boolean {
  return name === "onion" || name.endsWith(".onion");
}

/** An address or path for people. */
export function describeTarget(target: DialTarget): string {
  if (target.kind === "unix") return `unix:${target.path}`;
  return target.address.includes(":") ? `[${target.address}]:${target.port}` : `${target.address}:${target.port}`;
}

function isLoopback(address: string): boolean {
  return isIP(address) !== 0 && classifyAddress(address) === "loopback";
}

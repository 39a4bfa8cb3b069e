import { turnHintServer } from "@turnpike/client";
import { checkReveal, parseReference, RevealError, type RevealConfiguration } from "@turnpike/hints";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";

/** What a command is about to do with a configuration. */
export interface Purpose {
  /** Hints and references that it will connect to. */
  readonly connectTo?: readonly string[];
  /** Specs that it will listen on. */
  readonly listen?: readonly string[];
  /** True if it runs a relay. */
  readonly relay?: boolean;
}

/**
 * Refuses a start that would reveal this machine's address although `hints.reveal_ip_address` is false.
 *
 * @throws CommandError that names every key.
 */
export function refuseToReveal(configuration: Configuration, purpose: Purpose): void {
  const findings = checkReveal(revealConfigurationOf(configuration, purpose));
  if (findings.length > 0) throw new CommandError(new RevealError(findings).message, { exitCode: 2 });
}

/** Everything in a configuration that could reveal the address, as far as it matters for `purpose`. */
export function revealConfigurationOf(configuration: Configuration, purpose: Purpose): RevealConfiguration {
  const { hints, relay, turn } = configuration;
  const { socks, control } = hints.tor;
  // Who only listens opens no TCP, whatever way it would take.
  const dials = purpose.listen === undefined;
  const server = dials && hints.turn.relay !== undefined ? turnHintServer(hints.turn.relay) : undefined;
  return {
    revealIpAddress: hints.reveal_ip_address,
    hints: {
      tcp: dials ? hints.tcp : "disabled",
      overrides: dials ? hints.override : [],
      listen: purpose.listen ?? [],
      advertise: purpose.listen === undefined ? [] : hints.advertise,
      ...(server === undefined ? {} : { turnRelay: server }),
    },
    torTargets: [
      ...(socks === undefined ? [] : [{ key: "hints.tor.socks", value: socks }]),
      ...(control === undefined ? [] : [{ key: "hints.tor.control", value: control }]),
    ],
    connectTo: (purpose.connectTo ?? []).flatMap((text) =>
      (isReference(text) ? parseReference(text).hints : [text]).map((value) => ({ key: "HINT", value })),
    ),
    ...(purpose.relay === true
      ? {
          urls: turn.webhook.url === undefined ? [] : [{ key: "turn.webhook.url", value: turn.webhook.url }],
          // Without a list the relay listens everywhere.
          binds: (relay.listen ?? ["udp:0.0.0.0:3478"]).map((spec) => ({
            key: "relay.listen",
            value: spec.slice(spec.indexOf(":") + 1),
          })),
          published: [
            ...(relay.relay_addresses ?? ["found by autodetection"]).map((value) => ({
              key: "relay.relay_addresses",
              value,
            })),
            ...relay.external_addresses.map((text) => ({
              key: "relay.external_addresses",
              value: text.slice(0, text.includes("/") ? text.indexOf("/") : text.length),
            })),
          ],
        }
      : {}),
  };
}

/** True for what is meant as a reference rather than a hint. */
export function isReference(text: string): boolean {
  return text.startsWith("turnpike://");
}

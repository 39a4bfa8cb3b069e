import { turnHintServer } from "@turnpike/client/uri";
import { checkReveal, parseReference, RevealError, type RevealConfiguration } from "@turnpike/hints/text";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import { portalWayOf } from "./portal-way.ts";

/** What a command is about to do with a configuration. */
export interface Purpose {
  /** Hints and references that it will connect to. */
  readonly connectTo?: readonly string[];
  /** Specs that it will listen on. */
  readonly listen?: readonly string[];
  /** What it serves: a relay, a portal, or both. */
  readonly runs?: "relay" | "portal" | "serve";
  readonly environment?: Readonly<Record<string, string | undefined>>;
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
  const { hints } = configuration;
  const { socks, control } = hints.tor;
  const portalHints = hintsToPortal(configuration, purpose);
  // Who only listens opens no TCP, whatever way it would take.
  const dials = purpose.listen === undefined;
  const server = dials && hints.turn.relay !== undefined ? turnHintServer(hints.turn.relay) : undefined;
  return {
    revealIpAddress: hints.reveal_ip_address,
    hints: {
      tcp: dials ? hints.tcp : "disabled",
      overrides: dials ? hints.override : [],
      listen: purpose.listen ?? [],
      // A relay's reference names the hints that are listed, or else its own listeners, which are judged by themselves.
      advertise: purpose.listen === undefined && hints.advertise === "AUTO" ? [] : hints.advertise,
      ...(server === undefined ? {} : { turnRelay: server }),
    },
    torTargets: [
      ...(socks === undefined ? [] : [{ key: "hints.tor.socks", value: socks }]),
      ...(control === undefined ? [] : [{ key: "hints.tor.control", value: control }]),
    ],
    connectTo: [
      ...(purpose.connectTo ?? []).flatMap((text) =>
        (isReference(text) ? parseReference(text).hints : [text]).map((value) => ({ key: "HINT", value })),
      ),
      ...portalHints.map((value) => ({ key: "portal.url", value })),
    ],
    ...(purpose.runs === undefined ? {} : serverParts(configuration, purpose.runs, purpose.environment ?? {})),
  };
}

/** What a relay reaches its portal by. */
function hintsToPortal({ portal: { url } }: Configuration, { runs }: Purpose): readonly string[] {
  return runs === "relay" && url !== undefined ? portalWayOf(url).hints : [];
}

/** Tables of URLs that a program never contacts. */
const UNUSED: Readonly<Record<NonNullable<Purpose["runs"]>, readonly string[]>> = {
  relay: ["portal", "hints"],
  portal: ["relay", "turn", "peers", "tls", "hints"],
  serve: ["hints"],
};

function serverParts(
  configuration: Configuration,
  runs: NonNullable<Purpose["runs"]>,
  environment: Readonly<Record<string, string | undefined>>,
): Pick<RevealConfiguration, "urls" | "binds" | "published"> {
  const { relay, portal, telemetry } = configuration;
  const hasRelay = runs !== "portal";
  const hasPortal = runs !== "relay";
  const bind = (key: string, value: string | undefined): readonly Item[] =>
    value === undefined || value === "off" ? [] : [{ key, value }];
  const listed = Object.entries(configuration).filter(([table]) => !UNUSED[runs].includes(table));
  const urls = listed
    .flatMap(([table, value]) => urlsIn(value, table))
    // Said to others, not contacted; and the portal of another program.
    .filter(({ key }) => key !== "portal.public_url" && key !== "portal.url");
  return {
    urls: [
      ...urls,
      ...OTLP_VARIABLES.flatMap((key) => {
        const value = environment[key];
        return value === undefined || value === ""
          ? []
          : [{ key, value: value.includes("://") ? value : `http://${value}` }];
      }),
      // The metadata service of a cloud is asked by its own address.
      ...(environment["OTEL_METADATA_DISCOVERY_METHOD"]
        ? [{ key: "OTEL_METADATA_DISCOVERY_METHOD", value: "http://169.254.169.254" }]
        : []),
    ],
    binds: [
      ...(hasRelay
        ? [
            // Without a list the relay listens everywhere.
            ...(relay.listen ?? ["udp:0.0.0.0:3478"]).map((spec) => ({
              key: "relay.listen",
              value: spec.slice(spec.indexOf(":") + 1),
            })),
            ...bind("telemetry.health", telemetry.health),
          ]
        : []),
      ...bind("telemetry.metrics", telemetry.metrics),
      ...(hasPortal ? bind("portal.listen", portal.listen) : []),
    ],
    published: [
      ...(hasRelay
        ? [
            ...(relay.relay_addresses ?? ["found by autodetection"]).map((value) => ({
              key: "relay.relay_addresses",
              value,
            })),
            ...relay.external_addresses.map((text) => ({
              key: "relay.external_addresses",
              value: text.slice(0, text.includes("/") ? text.indexOf("/") : text.length),
            })),
          ]
        : []),
      ...(hasPortal && portal.public_url !== undefined ? [{ key: "portal.public_url", value: portal.public_url }] : []),
    ],
  };
}

interface Item {
  readonly key: string;
  readonly value: string;
}

const OTLP_VARIABLES = [
  "OTLP_GRPC_ENDPOINT",
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
  "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
];

/** Every URL in a value, wherever it stands: a key that is added to the schema is seen as well. */
function urlsIn(value: unknown, key: string): readonly Item[] {
  if (typeof value === "string") return /^[a-z][a-z0-9+.-]*:\/\//iu.test(value) ? [{ key, value }] : [];
  if (Array.isArray(value)) return value.flatMap((each: unknown) => urlsIn(each, key));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => urlsIn(each, `${key}.${name}`));
}

/** True for what is meant as a reference rather than a hint. */
export function isReference(text: string): boolean {
  return text.startsWith("turnpike://");
}

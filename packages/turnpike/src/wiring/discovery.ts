import { discoverMachine, type DiscoveryOptions } from "@turnpike/relay/telemetry";
import type { Configuration } from "../config/schema.ts";
import { CommandError } from "../errors.ts";
import type { Logger } from "../log.ts";
import type { World } from "../world.ts";

/**
 * The configuration with the public addresses that the cloud's metadata service tells, if it is asked for them and none
 * are named. @throws CommandError if the service can't be reached, or knows of none
 */
export async function withDiscoveredAddresses(
  configuration: Configuration,
  { world, logger }: { readonly world: World; readonly logger: Logger },
): Promise<Configuration> {
  const { discover_addresses: method, external_addresses: named } = configuration.relay;
  if (method === undefined || named.length > 0) return configuration;
  const { publicIpv4, publicIpv6 } = await ask({ method, ...serverOf(method, world) });
  const external = [publicIpv4, publicIpv6].filter((address) => address !== undefined);
  if (external.length === 0) {
    throw new CommandError(
      `--discover-addresses: the metadata service of ${method} knows of no public address: name one by --external-address`,
      { exitCode: 1 },
    );
  }
  logger.info({ method, external }, "The metadata service told the public addresses");
  return { ...configuration, relay: { ...configuration.relay, external_addresses: external } };
}

async function ask(options: DiscoveryOptions): ReturnType<typeof discoverMachine> {
  try {
    return await discoverMachine(options);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`--discover-addresses: ${reason}; name the addresses by --external-address`, {
      exitCode: 1,
      cause: error,
    });
  }
}

/** The variables by which the clouds' own libraries are told of another server. */
function serverOf(method: DiscoveryOptions["method"], { environment }: World): Pick<DiscoveryOptions, "baseUrl"> {
  const host = environment["GCE_METADATA_HOST"];
  const gce = host === undefined || host === "" ? undefined : `http://${host}`;
  const ec2 = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"]?.replace(/\/$/, "");
  const baseUrl = method === "gce_metadata" ? gce : ec2;
  return baseUrl === undefined || baseUrl === "" ? {} : { baseUrl };
}

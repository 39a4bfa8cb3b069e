import { formatIpAddress, type IpAddress, parseIpAddress } from "@turnpike/stun";
import type { Logger } from "../logger.ts";
import { isWildcard } from "./listen.ts";
import { chooseRelayAddresses, findRoutedAddresses, type LocalAddress } from "./local-addresses.ts";
import { joinRelayAddresses, parseExternalAddress, type RelayAddress } from "./relay-address.ts";

/** What {@link findRelayAddresses} goes by. */
export interface FindRelayAddressesOptions {
  /** As configured. Empty: the private halves of `externalAddresses`, or else autodetection. */
  readonly relayAddresses: readonly string[];
  /** `PUBLIC` or `PUBLIC/PRIVATE`. */
  readonly externalAddresses: readonly string[];
  /** The machine's addresses. */
  readonly machine: readonly LocalAddress[];
  readonly logger: Logger;
}

/**
 * The relay addresses: those that are configured, else those that the machine has.
 *
 * @throws TypeError for a wrong configuration; Error if the machine has no address.
 */
export async function findRelayAddresses(options: FindRelayAddressesOptions): Promise<readonly RelayAddress[]> {
  const externals = options.externalAddresses.map(parseExternalAddress);
  const configured = options.relayAddresses.map(parseRelayAddress);
  const privates = externals.flatMap((external) => external.private ?? []);
  if (configured.length > 0) {
    return joinRelayAddresses(configured, externals);
  }
  return joinRelayAddresses(privates.length > 0 ? privates : await detect(options), externals);
}

function parseRelayAddress(text: string): IpAddress {
  const ip = parseIpAddress(text);
  if (ip === undefined) {
    throw new TypeError(`Cannot parse relay address ${JSON.stringify(text)}: expected an IPv4 or IPv6 address`);
  }
  if (isWildcard(ip)) {
    throw new TypeError(
      `Cannot relay from ${text}: peers must be told one address; name it, or leave it to autodetection`,
    );
  }
  return ip;
}

async function detect(options: FindRelayAddressesOptions): Promise<readonly IpAddress[]> {
  const { machine, externalAddresses, logger } = options;
  const { addresses, scope } = chooseRelayAddresses(machine, await findRoutedAddresses());
  const found = { relayAddresses: addresses.map(formatIpAddress) };
  switch (scope) {
    case "global":
      logger.info(found, "Found globally routable relay addresses");
      break;
    case "private":
      if (externalAddresses.length > 0) {
        logger.info({ ...found, externalAddresses }, "Found private relay addresses behind the external ones");
        break;
      }
      logger.warn(
        found,
        "Found private relay addresses only: peers elsewhere can't reach them. Behind a 1:1 NAT, name its address as an external address",
      );
      break;
    case "loopback":
      logger.warn(found, "This machine has loopback addresses only: the relay serves this machine alone");
      break;
    case undefined:
      throw new Error("Cannot find a relay address: this machine has no address. Name one as a relay address");
  }
  return addresses;
}

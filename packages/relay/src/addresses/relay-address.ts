import type { IpAddress } from "@turnpike/stun";
import { formatIpAddress, parseIpAddress, sameIp } from "@turnpike/stun";

/** An address that relay sockets are bound to, and the one that peers and clients are told. */
export interface RelayAddress {
  /** An address of this machine. */
  readonly local: IpAddress;
  /** The public half of an external address (1:1 NAT), else `local`. */
  readonly relayed: IpAddress;
}

/** `PUBLIC[/PRIVATE]`: the address that a 1:1 NAT shows for a relay address of this machine. */
export interface ExternalAddress {
  readonly public: IpAddress;
  /** Default: the one relay address of the same family. */
  readonly private?: IpAddress;
}

/**
 * Parses `PUBLIC` or `PUBLIC/PRIVATE`.
 *
 * @throws TypeError if a half is no IP address, or if the halves are of different families.
 */
export function parseExternalAddress(text: string): ExternalAddress {
  const [publicText = "", privateText, ...rest] = text.split("/");
  const publicHalf = parseIpAddress(publicText);
  const privateHalf = privateText === undefined ? undefined : parseIpAddress(privateText);
  if (publicHalf === undefined || rest.length > 0 || (privateText !== undefined && privateHalf === undefined)) {
    throw new TypeError(`Cannot parse external address ${JSON.stringify(text)}: expected PUBLIC or PUBLIC/PRIVATE`);
  }
  if (privateHalf === undefined) {
    return { public: publicHalf };
  }
  if (privateHalf.family !== publicHalf.family) {
    throw new TypeError(`Cannot use external address ${JSON.stringify(text)}: its halves are of different families`);
  }
  return { public: publicHalf, private: privateHalf };
}

/**
 * Joins relay addresses and external addresses.
 *
 * @throws TypeError naming the external address that fits no relay address, or fits several, and for an address that
 * is named twice.
 */
export function joinRelayAddresses(
  locals: readonly IpAddress[],
  externals: readonly ExternalAddress[],
): readonly RelayAddress[] {
  const relayed = new Map<IpAddress, IpAddress>();
  locals.forEach((local, index) => {
    if (locals.findIndex((other) => sameIp(other, local)) !== index) {
      throw new TypeError(`Cannot use relay address ${formatIpAddress(local)} twice`);
    }
  });
  for (const external of externals) {
    const local = privateHalfOf(external, locals);
    if (relayed.has(local)) {
      throw new TypeError(`Cannot give relay address ${formatIpAddress(local)} two external addresses`);
    }
    if ([...relayed.values()].some((other) => sameIp(other, external.public))) {
      throw new TypeError(`Cannot use external address ${formatIpAddress(external.public)} twice`);
    }
    relayed.set(local, external.public);
  }
  return locals.map((local) => ({ local, relayed: relayed.get(local) ?? local }));
}

function privateHalfOf(external: ExternalAddress, locals: readonly IpAddress[]): IpAddress {
  const named = external.private;
  const shown = formatIpAddress(external.public);
  if (named !== undefined) {
    const local = locals.find((candidate) => sameIp(candidate, named));
    if (local === undefined) {
      throw new TypeError(
        `Cannot use external address ${shown}: ${formatIpAddress(named)} is not a relay address; add it to the relay addresses`,
      );
    }
    return local;
  }
  const [local, ...others] = locals.filter((candidate) => candidate.family === external.public.family);
  if (local === undefined) {
    throw new TypeError(
      `Cannot use external address ${shown}: there is no IPv${external.public.family} relay address; name one as ${shown}/PRIVATE`,
    );
  }
  if (others.length > 0) {
    throw new TypeError(
      `Cannot use external address ${shown}: there are ${others.length + 1} IPv${local.family} relay addresses; name the one it belongs to as ${shown}/PRIVATE`,
    );
  }
  return local;
}

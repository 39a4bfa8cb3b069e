import { createSocket } from "node:dgram";
import { networkInterfaces } from "node:os";
import { type IpAddress, parseIpAddress, sameIp } from "@turnpike/stun";

/** How far an address reaches. `link`: needs a zone to be used (RFC 4007 §6). */
type AddressScope = "global" | "private" | "link" | "loopback";

/** An address of this machine. */
export interface LocalAddress {
  readonly ip: IpAddress;
  readonly scope: AddressScope;
}

/** What `os.networkInterfaces()` tells, as far as it is read. */
type Interfaces = Readonly<
  Record<string, readonly { readonly address: string; readonly internal: boolean }[] | undefined>
>;

/** What {@link listLocalAddresses} goes by. */
export interface LocalAddressesOptions {
  /** Default: `os.networkInterfaces()`. */
  readonly interfaces?: Interfaces;
  /** Whether an address is globally routable. */
  readonly isGlobal: (ip: IpAddress) => boolean;
}

/** The machine's addresses, in the order of its interfaces. */
export function listLocalAddresses(options: LocalAddressesOptions): readonly LocalAddress[] {
  const interfaces: Interfaces = options.interfaces ?? networkInterfaces();
  const found: LocalAddress[] = [];
  for (const { address, internal } of Object.values(interfaces).flatMap((entries) => entries ?? [])) {
    const ip = parseIpAddress(address.split("%")[0] ?? "");
    if (ip !== undefined && !found.some((other) => sameIp(other.ip, ip))) {
      found.push({ ip, scope: scopeOf(ip, internal, options.isGlobal) });
    }
  }
  return found;
}

/** What {@link chooseRelayAddresses} found: at most one address of each family. */
export interface ChosenRelayAddresses {
  readonly addresses: readonly IpAddress[];
  /** The widest scope among them; undefined if the machine has no address at all. */
  readonly scope: Exclude<AddressScope, "link"> | undefined;
}

/**
 * Chooses relay addresses: of each family the one that reaches furthest, globally routable before private. Among
 * equals the one that `routed` names, from which the machine reaches others, then the first. Loopback only on a
 * machine that has nothing else.
 */
export function chooseRelayAddresses(
  machine: readonly LocalAddress[],
  routed: readonly IpAddress[],
): ChosenRelayAddresses {
  const best = (scopes: readonly AddressScope[]): readonly LocalAddress[] =>
    ([4, 6] as const).flatMap((family) => {
      for (const scope of scopes) {
        const equals = machine.filter((address) => address.ip.family === family && address.scope === scope);
        const chosen = equals.find(({ ip }) => routed.some((other) => sameIp(ip, other))) ?? equals[0];
        if (chosen !== undefined) {
          return [chosen];
        }
      }
      return [];
    });
  const reaching = best(["global", "private"]);
  const chosen = reaching.length > 0 ? reaching : best(["loopback"]);
  const widest = (["global", "private", "loopback"] as const).find((scope) =>
    chosen.some((address) => address.scope === scope),
  );
  return { addresses: chosen.map(({ ip }) => ip), scope: widest };
}

/**
 * The addresses from which the machine reaches others, of each family that has a default route. Asks the system's
 * routes by connecting a datagram socket to a documentation address (RFC 5737, RFC 3849), which sends nothing.
 */
export async function findRoutedAddresses(): Promise<readonly IpAddress[]> {
  const found = await Promise.all([routedAddress("udp4", "198.51.100.1"), routedAddress("udp6", "2001:db8::1")]);
  return found.filter((ip) => ip !== undefined);
}

function routedAddress(type: "udp4" | "udp6", towards: string): Promise<IpAddress | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(type);
    const finish = (text: string): void => {
      socket.close(() => resolve(parseIpAddress(text)));
    };
    socket.once("error", () => finish(""));
    socket.connect(9, towards, () => finish(socket.address().address));
  });
}

function scopeOf(ip: IpAddress, internal: boolean, isGlobal: (ip: IpAddress) => boolean): AddressScope {
  if (internal) {
    return "loopback";
  }
  if (isLinkLocal(ip)) {
    return "link";
  }
  return isGlobal(ip) ? "global" : "private";
}

/** fe80::/10 (RFC 4291 §2.5.6). */
function isLinkLocal(ip: IpAddress): boolean {
  return ip.family === 6 && ip.w0 >>> 22 === 0xfe80 >>> 6;
}

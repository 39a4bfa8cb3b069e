import { isIP } from "node:net";
import ipaddr from "ipaddr.js";

/** What an address is, as far as reaching it is concerned. Everything but `global` needs a reason to be dialled. */
export type AddressClass =
  | "global"
  | "loopback"
  | "private"
  | "shared"
  | "link-local"
  | "metadata"
  | "unspecified"
  | "multicast"
  | "reserved";

/** Which addresses hints may reach. */
export interface AddressPolicyOptions {
  /**
   * Loopback, private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local addresses: `refused` (the default);
   * `literal`: only if the hint itself spells the address, so that no name server can aim a hint at them; `allowed`.
   */
  readonly privateAddresses?: "refused" | "literal" | "allowed";
  /** Prefixes (`10.0.0.0/8`) or addresses that are permitted whatever the rest says. */
  readonly allow?: readonly string[];
  /** Prefixes or addresses that are refused, unless `allow` holds them too. */
  readonly deny?: readonly string[];
}

/** A compiled {@link AddressPolicyOptions}. Pure. */
export interface AddressPolicy {
  /**
   * Says why an address must not be dialled, or nothing if it may.
   *
   * @param address a literal IPv4 or IPv6 address.
   * @param options.spelledOut true if local configuration or the hint wrote the address itself; false if a name led to it.
   */
  refusal(address: string, options: { readonly spelledOut: boolean }): string | undefined;
  /** As above for an address that Tor or a proxy is to reach: only global ones, and those on the allow list. */
  remoteRefusal(address: string): string | undefined;
}

/**
 * Compiles a policy.
 *
 * @throws TypeError if a prefix cannot be read: a rule that is skipped would open what it was to close.
 */
export function createAddressPolicy(options: AddressPolicyOptions = {}): AddressPolicy {
  const allow = (options.allow ?? []).map((prefix) => parsePrefix(prefix));
  const deny = (options.deny ?? []).map((prefix) => parsePrefix(prefix));
  const mode = options.privateAddresses ?? "refused";
  return {
    remoteRefusal(address) {
      if (isIP(address) === 0) return `${address} is not an IP address`;
      if (matches(allow, address)) return undefined;
      const kind = matches(deny, address) ? "denied" : classifyAddress(address);
      return kind === "global" ? undefined : `${address} is ${kind}; only global addresses are asked of Tor or a proxy`;
    },
    refusal(address, { spelledOut }) {
      if (isIP(address) === 0) return `${address} is not an IP address`;
      if (matches(allow, address)) return undefined;
      if (matches(deny, address)) return `${address} is on the deny list`;
      const kind = classifyAddress(address);
      switch (kind) {
        case "global":
          return undefined;
        case "loopback":
        case "private":
        case "shared":
        case "link-local":
          if (mode === "allowed" || (mode === "literal" && spelledOut)) return undefined;
          return mode === "literal"
            ? `${address} is a ${kind} address, and a name led to it`
            : `${address} is a ${kind} address; allow it with the policy's allow list or privateAddresses`;
        case "metadata":
          return `${address} is a cloud metadata service; only the policy's allow list opens it`;
        case "unspecified":
        case "multicast":
        case "reserved":
          return `${address} is ${kind}, no host has it`;
      }
    },
  };
}

/** Classifies a literal address. IPv4 addresses inside IPv6 ones count as what they wrap. */
export function classifyAddress(address: string): AddressClass {
  const parsed = ipaddr.parse(address);
  if (metadataAddresses.has(parsed.toNormalizedString())) return "metadata";
  return parsed instanceof ipaddr.IPv4 ? classifyIpv4(parsed) : classifyIpv6(parsed);
}

/** Services on these addresses hand out credentials to whoever asks (AWS, GCP, Azure, OpenStack, Oracle, Alibaba). */
const metadataAddresses: ReadonlySet<string> = new Set(
  [
    "169.254.169.254",
    "169.254.170.2",
    "168.63.129.16",
    "100.100.100.200",
    "192.0.0.192",
    "fd00:ec2::254",
    "fd20:ce::254",
  ].map((address) => ipaddr.parse(address).toNormalizedString()),
);

function classifyIpv4(address: ipaddr.IPv4): AddressClass {
  switch (address.range()) {
    case "unicast":
      return "global";
    case "loopback":
      return "loopback";
    case "private":
      return "private";
    case "carrierGradeNat":
      return "shared";
    case "linkLocal":
      return "link-local";
    case "unspecified":
      return address.toString() === "0.0.0.0" ? "unspecified" : "reserved";
    case "multicast":
      return "multicast";
    default:
      return "reserved";
  }
}

function classifyIpv6(address: ipaddr.IPv6): AddressClass {
  const bytes = address.toByteArray();
  const inner = wrappedIpv4(bytes);
  if (inner !== undefined) {
    const text = inner.address.toString();
    const kind = metadataAddresses.has(text) ? "metadata" : classifyIpv4(inner.address);
    return kind === "global" ? inner.otherwise : kind;
  }
  switch (address.range()) {
    case "loopback":
      return "loopback";
    case "unspecified":
      return "unspecified";
    case "linkLocal":
      return "link-local";
    case "uniqueLocal":
      return "private";
    case "multicast":
      return "multicast";
    case "unicast":
      return ((bytes[0] ?? 0) & 0xe0) === 0x20 ? "global" : "reserved";
    default:
      return "reserved";
  }
}

interface Wrapped {
  readonly address: ipaddr.IPv4;
  /** What the whole is when the inner address is global. */
  readonly otherwise: AddressClass;
}

/** Finds the IPv4 address that a translating or tunnelling IPv6 address leads to. */
function wrappedIpv4(bytes: readonly number[]): Wrapped | undefined {
  const at = (start: number, invert = 0): ipaddr.IPv4 =>
    new ipaddr.IPv4(bytes.slice(start, start + 4).map((byte) => byte ^ invert));
  const startsWith = (...prefix: readonly number[]): boolean => prefix.every((byte, index) => bytes[index] === byte);
  const zero = (from: number, to: number): boolean => bytes.slice(from, to).every((byte) => byte === 0);
  if (zero(0, 10) && bytes[10] === 0xff && bytes[11] === 0xff) return { address: at(12), otherwise: "global" };
  // IPv4-compatible (RFC 4291 §2.5.5.1), but not :: and ::1.
  if (zero(0, 12) && !zero(12, 15)) return { address: at(12), otherwise: "reserved" };
  if (zero(0, 8) && bytes[8] === 0xff && bytes[9] === 0xff && zero(10, 12))
    return { address: at(12), otherwise: "reserved" };
  // NAT64 (RFC 6052 §2.1, RFC 8215).
  if (startsWith(0x00, 0x64, 0xff, 0x9b) && zero(4, 12)) return { address: at(12), otherwise: "global" };
  if (startsWith(0x00, 0x64, 0xff, 0x9b, 0x00, 0x01)) return { address: at(12), otherwise: "reserved" };
  // 6to4 (RFC 3056 §2) and Teredo (RFC 4380 §4, the client's address inverted).
  if (startsWith(0x20, 0x02)) return { address: at(2), otherwise: "reserved" };
  if (startsWith(0x20, 0x01, 0x00, 0x00)) return { address: at(12, 0xff), otherwise: "reserved" };
  // ISATAP (RFC 5214 §6.1).
  if (((bytes[8] ?? 0) & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe) {
    return { address: at(12), otherwise: "reserved" };
  }
  return undefined;
}

type Prefix = readonly [ipaddr.IPv4 | ipaddr.IPv6, number];

function parsePrefix(text: string): Prefix {
  const [address = "", bits, ...more] = text.split("/");
  const family = isIP(address);
  const width = family === 4 ? 32 : 128;
  const length = bits === undefined ? width : /^\d{1,3}$/u.test(bits) ? Number(bits) : -1;
  if (family === 0 || address.includes("%") || more.length > 0 || length < 0 || length > width) {
    throw new TypeError(
      `Cannot read address prefix "${text}": write an address, or one with a length, as in 10.0.0.0/8`,
    );
  }
  return [ipaddr.parse(address), length];
}

function matches(prefixes: readonly Prefix[], address: string): boolean {
  const parsed = ipaddr.process(address);
  return prefixes.some(([base, length]) => parsed.kind() === base.kind() && parsed.match(base, length));
}

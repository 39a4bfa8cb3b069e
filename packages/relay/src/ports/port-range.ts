/** The ports that a relay may lease, both ends included. Frozen. Make it with {@link createPortRange}. */
export interface PortRange {
  /** First port, 1–65535. */
  readonly min: number;
  /** Last port, 1–65535, not below `min`. */
  readonly max: number;
}

/** The dynamic ports of RFC 6335 §6, which RFC 8656 §7.2 recommends for relayed transport addresses. */
export const DEFAULT_PORT_RANGE: PortRange = Object.freeze({ min: 49152, max: 65535 });

/**
 * Checks a port range.
 *
 * @throws RangeError if an end is no port (1–65535) or if the ends are swapped.
 */
export function createPortRange(range: PortRange): PortRange {
  const { min, max } = range;
  for (const [name, port] of [
    ["first", min],
    ["last", max],
  ] as const) {
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new RangeError(`Cannot use relay ports ${min}-${max}: the ${name} port is not between 1 and 65535`);
    }
  }
  if (min > max) {
    throw new RangeError(`Cannot use relay ports ${min}-${max}: the first port is above the last`);
  }
  return Object.freeze({ min, max });
}

/** How much a credential cache keeps, and for how long. All of it can be changed while in use. */
export interface CacheSettings {
  /** Default: false. */
  readonly enabled: boolean;
  /** How long a success answers for the provider, in seconds; fractions allowed. Default: 300. */
  readonly expirySeconds: number;
  /** How many successes are kept. Zero or less: none. Default: 50. */
  readonly size: number;
  /** How long a wrong password for a cached user is refused without asking again, in seconds. Zero: never. Default: 30. */
  readonly negativeExpirySeconds: number;
  /** For how many users wrong passwords are kept. Default: 50. */
  readonly negativeSize: number;
  /**
   * For how long past its expiry a success may stand in while the provider is unavailable, in seconds, 3,600 at most.
   * What it answers is marked `stale`. Default: 0, never.
   */
  readonly staleIfUnavailableSeconds: number;
}

const MAX_EXPIRY_SECONDS = 7 * 86_400;
const MAX_SIZE = 1_000_000;
const MAX_NEGATIVE_EXPIRY_SECONDS = 300;
const MAX_STALE_SECONDS = 3600;

/**
 * Fills in defaults and checks ranges.
 *
 * @throws RangeError naming the setting, what it was and what it may be
 */
export function parseCacheSettings({
  enabled = false,
  expirySeconds = 300,
  size = 50,
  negativeExpirySeconds = 30,
  negativeSize = 50,
  staleIfUnavailableSeconds = 0,
}: Partial<CacheSettings>): CacheSettings {
  if (!(expirySeconds > 0 && expirySeconds <= MAX_EXPIRY_SECONDS)) {
    throw new RangeError(`Cannot cache for ${expirySeconds} s: expiry must be above 0, up to ${MAX_EXPIRY_SECONDS}`);
  }
  checkSeconds("negative expiry", negativeExpirySeconds, MAX_NEGATIVE_EXPIRY_SECONDS);
  checkSeconds("stale-if-unavailable", staleIfUnavailableSeconds, MAX_STALE_SECONDS);
  checkSize("size", size);
  checkSize("negative size", negativeSize);
  return { enabled, expirySeconds, size, negativeExpirySeconds, negativeSize, staleIfUnavailableSeconds };
}

function checkSeconds(name: string, seconds: number, max: number): void {
  if (!(seconds >= 0 && seconds <= max)) {
    throw new RangeError(`Cannot use ${seconds} s as ${name}: it must be from 0 to ${max}`);
  }
}

function checkSize(name: string, size: number): void {
  if (!Number.isInteger(size) || size > MAX_SIZE) {
    throw new RangeError(`Cannot use ${size} as ${name}: it must be a whole number, ${MAX_SIZE} at most`);
  }
}

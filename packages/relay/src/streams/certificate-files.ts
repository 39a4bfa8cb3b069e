import { readFileSync, type StatsListener, unwatchFile, watchFile } from "node:fs";
import { createSecureContext } from "node:tls";
import type { Logger } from "../logger.ts";

/** A certificate chain and its private key, both PEM. */
export interface Certificate {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A certificate for those who ask for it by a name of its own. */
export interface TlsIdentity {
  /** The server name (RFC 6066 §3) that TLS clients ask for it by. */
  readonly serverName: string;
  /** PEM. */
  readonly cert: string;
  /** PEM, not encrypted. */
  readonly key: string;
}

/** Where a certificate is. */
export interface CertificatePaths {
  /** PEM, the server's own certificate first, then the chain. */
  readonly cert: string;
  /** PEM, not encrypted. */
  readonly key: string;
}

/** What {@link CertificateFiles} is made with. */
export interface CertificateFilesOptions extends CertificatePaths {
  readonly logger: Logger;
  /** How often the files are looked at. Default 5,000. */
  readonly intervalMs?: number;
}

const DEFAULT_INTERVAL_MS = 5000;

/**
 * A certificate that is read again when its files change. What can't be read, or doesn't fit together (the one file may
 * be replaced before the other), is logged, and the one before stays in use.
 */
export class CertificateFiles {
  readonly #options: CertificateFilesOptions;
  #paths: CertificatePaths;
  readonly #users = new Set<(certificate: Certificate) => void>();
  readonly #changed: StatsListener = () => {
    this.reload();
  };
  #current: Certificate;

  /** @throws TypeError if the files can't be read or don't fit together. */
  constructor(options: CertificateFilesOptions) {
    this.#options = options;
    this.#paths = options;
    this.#current = load(options);
    this.#watch();
  }

  get current(): Certificate {
    return this.#current;
  }

  /** Calls `use` with each certificate that replaces another. */
  onChange(use: (certificate: Certificate) => void): void {
    this.#users.add(use);
  }

  /** Reads the files again. False if the certificate before stays in use. */
  reload(): boolean {
    try {
      this.#use(load(this.#paths));
      return true;
    } catch (error) {
      this.#options.logger.warn({ err: error }, "The certificate can't be replaced: the one before stays in use");
      return false;
    }
  }

  /**
   * Has the certificate come from other files from here on; from the same, it is a {@link reload}.
   *
   * @throws TypeError if they can't be read or don't fit together; then nothing has changed.
   */
  moveTo({ cert, key }: CertificatePaths): boolean {
    if (cert === this.#paths.cert && key === this.#paths.key) return this.reload();
    const loaded = load({ cert, key });
    this.close();
    this.#paths = { cert, key };
    this.#watch();
    this.#use(loaded);
    return true;
  }

  close(): void {
    unwatchFile(this.#paths.cert, this.#changed);
    unwatchFile(this.#paths.key, this.#changed);
  }

  #watch(): void {
    for (const file of [this.#paths.cert, this.#paths.key]) {
      watchFile(file, { persistent: false, interval: this.#options.intervalMs ?? DEFAULT_INTERVAL_MS }, this.#changed);
    }
  }

  #use(loaded: Certificate): void {
    if (loaded.cert.equals(this.#current.cert) && loaded.key.equals(this.#current.key)) return;
    this.#current = loaded;
    for (const use of this.#users) use(loaded);
    this.#options.logger.info({ cert: this.#paths.cert }, "The certificate was replaced");
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "permission denied",
  EISDIR: "is a directory",
};

function load(paths: CertificatePaths): Certificate {
  const cert = read(paths.cert, "certificate");
  const key = read(paths.key, "private key");
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error);
    throw new TypeError(`Cannot use the certificate ${paths.cert} with the key ${paths.key}: ${detail}`, {
      cause: error,
    });
  }
  return { cert, key };
}

function read(file: string, what: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    throw new TypeError(`Cannot read the ${what} ${file}: ${REASONS[code] ?? code}`, { cause: error });
  }
}

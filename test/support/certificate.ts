import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A self-signed certificate of `relay.example`, localhost and the loopback addresses, in two files. */
export class TestCertificate implements AsyncDisposable {
  readonly #directory = mkdtempSync(join(tmpdir(), "turnpike-certificate-"));
  readonly cert: string = join(this.#directory, "cert.pem");
  readonly key: string = join(this.#directory, "key.pem");

  constructor() {
    this.renew();
  }

  /** Writes another certificate and key into the files. */
  renew(): void {
    const names = "subjectAltName=DNS:relay.example,DNS:localhost,IP:127.0.0.1,IP:::1";
    const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const files = ["-keyout", this.key, "-out", this.cert];
    const subject = ["-subj", "/CN=relay.example", "-days", "2", "-addext", names];
    execFileSync("openssl", ["req", "-x509", ...curve, ...files, ...subject], { stdio: "ignore" });
  }

  /** The certificate's PEM. */
  get pem(): Buffer {
    return readFileSync(this.cert);
  }

  [Symbol.asyncDispose](): Promise<void> {
    rmSync(this.#directory, { recursive: true });
    return Promise.resolve();
  }
}

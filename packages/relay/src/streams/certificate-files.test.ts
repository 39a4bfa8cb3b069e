import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { RecordingLogger } from "../testing/recording-logger.ts";
import { CertificateFiles } from "./certificate-files.ts";

const directory = mkdtempSync(join(tmpdir(), "turnpike-certificate-files-"));
const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
let files: CertificateFiles | undefined;

afterEach(() => {
  files?.close();
  rmSync(directory, { recursive: true, force: true });
});

/** Another pair, in memory. */
function pair(): { readonly cert: Buffer; readonly key: Buffer } {
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=relay.example"];
  const made = [join(directory, "made-cert.pem"), join(directory, "made-key.pem")] as const;
  execFileSync("openssl", ["req", "-x509", ...curve, "-out", made[0], "-keyout", made[1]], { stdio: "ignore" });
  return { cert: readFileSync(made[0]), key: readFileSync(made[1]) };
}

test("files that change are seen; a half-written or wrong pair isn't taken, with a warning, and the next right one is", async () => {
  const [first, second, third] = [pair(), pair(), pair()];
  writeFileSync(cert, first.cert);
  writeFileSync(key, first.key);
  const logger = new RecordingLogger();
  files = new CertificateFiles({ cert, key, logger, intervalMs: 20 });
  const used: Buffer[] = [];
  files.onChange((certificate) => used.push(certificate.cert));
  const isSeen = (what: () => boolean) => vi.waitUntil(what, { timeout: 20_000, interval: 10 });
  /** Changes something until it was looked at and refused: what happens before the first look is no change. */
  const refused = async (change: () => void): Promise<void> => {
    const before = logger.messages("warn").length;
    await vi.waitUntil(
      () => {
        if (logger.messages("warn").length > before) return true;
        change();
        return false;
      },
      { timeout: 20_000, interval: 100 },
    );
  };

  // The key is there before its certificate.
  await refused(() => writeFileSync(key, second.key));
  expect(files.current.cert.equals(first.cert)).toBe(true);
  expect(files.current.key.equals(first.key)).toBe(true);
  writeFileSync(cert, second.cert);
  await isSeen(() => used.length === 1);
  expect(files.current.cert.equals(second.cert)).toBe(true);

  // Cut off in the middle, then gone, then no PEM.
  await refused(() => writeFileSync(cert, third.cert.subarray(0, 100)));
  await refused(() => rmSync(cert, { force: true }));
  await refused(() => writeFileSync(cert, "no certificate"));
  expect(files.current.cert.equals(second.cert)).toBe(true);
  expect(used).toHaveLength(1);

  await refused(() => writeFileSync(key, third.key));
  writeFileSync(cert, third.cert);
  await isSeen(() => used.length === 2);
  expect(files.current.cert.equals(third.cert)).toBe(true);
  const text = logger.lines.map((line) => line.text).join();
  expect(text).not.toContain(third.key.toString("utf8").split("\n")[1]);
});

import * as C from "./constants.ts";
import type { OpenSsl } from "./openssl.ts";

const LONGEST_NAME = 255;

/** Names as a ClientHello has them: a byte of length before each (RFC 7301 §3.1). @throws TypeError if one can't be said. */
export function encodeProtocolNames(names: readonly string[]): Uint8Array {
  return Buffer.concat(
    names.map((name) => {
      const bytes = Buffer.from(name, "latin1");
      if (bytes.length === 0 || bytes.length > LONGEST_NAME) {
        throw new TypeError(
          `Cannot use application protocol ${JSON.stringify(name)}: expected 1 to ${LONGEST_NAME} bytes`,
        );
      }
      return Buffer.concat([Buffer.of(bytes.length), bytes]);
    }),
  );
}

/**
 * Where in the client's list the name stands that a server chooses, its first that the client knows; undefined if there
 * is none.
 */
export function chooseProtocol(
  offered: Uint8Array,
  names: readonly string[],
): { readonly offset: number; readonly length: number } | undefined {
  let best: { readonly offset: number; readonly length: number; readonly rank: number } | undefined;
  for (let at = 0; at < offered.length; at += 1 + offered[at]!) {
    const [offset, length] = [at + 1, offered[at]!];
    const rank = names.indexOf(Buffer.from(offered.subarray(offset, offset + length)).toString("latin1"));
    if (rank >= 0 && (best === undefined || rank < best.rank)) best = { offset, length, rank };
  }
  return best === undefined ? undefined : { offset: best.offset, length: best.length };
}

/**
 * Has a server's context choose among the protocols that clients offer. Who offers others only gets a fatal alert
 * (RFC 7301 §3.2); who offers none is served.
 */
export function serveProtocols(openSsl: OpenSsl, names: readonly string[]): unknown {
  return openSsl.createAlpnCallback((_ssl, chosen, chosenLength, offered, offeredLength) => {
    const choice = chooseProtocol(openSsl.viewOf(offered, offeredLength), names);
    if (choice === undefined) return C.SSL_TLSEXT_ERR_ALERT_FATAL;
    const view = openSsl.viewOf(chosen, 8);
    // The name stays in the client's list: the memory is OpenSSL's, and lives as long as it needs it.
    new DataView(view.buffer, view.byteOffset).setBigUint64(0, BigInt(offered + choice.offset), true);
    openSsl.viewOf(chosenLength, 1)[0] = choice.length;
    return C.SSL_TLSEXT_ERR_OK;
  });
}

/** What the two ends agreed on. */
export function agreedProtocol(openSsl: OpenSsl, ssl: number): string | undefined {
  const address = new Uint8Array(8);
  const length = new Uint8Array(4);
  openSsl.SSL_get0_alpn_selected(ssl, address, length);
  const bytes = new DataView(length.buffer).getUint32(0, true);
  if (bytes === 0) return undefined;
  const at = Number(new DataView(address.buffer).getBigUint64(0, true));
  return Buffer.from(openSsl.viewOf(at, bytes)).toString("latin1");
}

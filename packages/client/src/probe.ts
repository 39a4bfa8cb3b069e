import type { TransportAddress } from "@turnpike/stun";
import type { Allocation } from "./allocation.ts";

/** Bytes of a probe's header: a mark (4), the flow (4), the number (4) and when it was sent (8). */
export const PROBE_HEADER_LENGTH = 20;
const MARK = 0x7475_726e;

/** A numbered datagram that comes back. */
export interface Probe {
  readonly flow: number;
  readonly sequence: number;
  /** On the monotonic clock, in milliseconds. */
  readonly sentAtMs: number;
}

/** Writes a probe of `length` bytes. @throws RangeError if the header doesn't fit. */
export function encodeProbe(probe: Probe, length: number): Uint8Array {
  if (length < PROBE_HEADER_LENGTH) throw new RangeError(`A probe has at least ${PROBE_HEADER_LENGTH} bytes`);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MARK);
  view.setUint32(4, probe.flow);
  view.setUint32(8, probe.sequence);
  view.setFloat64(12, probe.sentAtMs);
  return bytes;
}

/** Undefined if it is no probe. */
export function decodeProbe(data: Uint8Array): Probe | undefined {
  if (data.length < PROBE_HEADER_LENGTH) return undefined;
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  if (view.getUint32(0) !== MARK) return undefined;
  return { flow: view.getUint32(4), sequence: view.getUint32(8), sentAtMs: view.getFloat64(12) };
}

/** Sends every probe back to where it came from. */
export function echoTo(allocation: () => Allocation | undefined, peer: TransportAddress, data: Uint8Array): void {
  if (decodeProbe(data) !== undefined) allocation()?.send(peer, data);
}

import { PACKET_HEADROOM, PACKET_TAILROOM } from "@turnpike/turn";
import { MAX_PAYLOAD_IPV6 } from "../plane.ts";

const PARTS = 256;

/** Room for one packet of any size, {@link PACKET_HEADROOM} before it and {@link PACKET_TAILROOM} behind it included. */
export class PacketBuffer {
  readonly bytes: Buffer = Buffer.allocUnsafeSlow(PACKET_HEADROOM + MAX_PAYLOAD_IPV6 + PACKET_TAILROOM);
  readonly #parts: Buffer[] = Array.from({ length: PARTS }, () => this.bytes);

  /**
   * A part of it. Those that were asked for are remembered, each in the one place that it hashes to: making one costs
   * more than to copy the packet.
   */
  part(offset: number, length: number): Buffer {
    const place = (length + offset * 31) & (PARTS - 1);
    const known = this.#parts[place];
    if (known !== undefined && known.length === length && known.byteOffset === offset) return known;
    const part = this.bytes.subarray(offset, offset + length);
    this.#parts[place] = part;
    return part;
  }
}

import { attribute, encodeMessage, icmp, xorPeerAddress, type TransportAddress } from "@turnpike/stun";
import type { IcmpReport, Now } from "./contract.ts";
import type { Core } from "./core.ts";

/** RFC 8656 §11.5: which types a client is told of, by the family of the peer. */
const ICMP_TYPES: Readonly<Record<4 | 6, readonly number[]>> = { 4: [3, 11], 6: [1, 2, 3] };

/** Tells a client of an ICMP error for what it sent to a peer, if it has a permission for that peer. */
export function reportIcmp(core: Core, socket: number, peer: TransportAddress, report: IcmpReport, now: Now): void {
  if (!ICMP_TYPES[peer.family].includes(report.type)) return;
  const allocation = core.registry.findBySocket(socket);
  const permission = allocation && core.registry.findPermission(allocation, peer);
  if (allocation === undefined || permission === undefined || permission.expiresAtMs <= now.monotonicMs) return;
  const { listener, connection, remote } = allocation.client;
  core.output({
    kind: "sendToClient",
    listener,
    connection,
    destination: remote,
    bytes: encodeMessage({
      class: "indication",
      method: "data",
      transactionId: core.options.random(12),
      attributes: [
        attribute(xorPeerAddress, peer),
        attribute(icmp, { icmpType: report.type, icmpCode: report.code, errorData: report.data }),
      ],
    }),
  });
}

import type { Relay } from "@turnpike/relay";
import { formatTransportAddress, sameIp, type TransportAddress, withPort } from "@turnpike/stun";

/** Where clients reach a relay by URLs of ICE servers, which say nothing of keys: TLS needs a certificate for the world. */
export function urlsOf(relay: Relay, { hasCertificate }: { readonly hasCertificate: boolean }): readonly string[] {
  const urls = publicListeners(relay).flatMap(({ transport, address }) => {
    const form = transport === "tls" && !hasCertificate ? undefined : URL_FORMS[transport];
    return form === undefined ? [] : [`${form.scheme}:${formatTransportAddress(address)}?transport=${form.transport}`];
  });
  return [...new Set(urls)];
}

/** Where a relay listens, as the world sees it: by the public half of an address that a NAT translates. */
export function publicListeners(
  relay: Relay,
): readonly { readonly transport: Listening["transport"]; readonly address: TransportAddress }[] {
  return relay.listening.map(({ transport, local }) => {
    const translated = relay.relayAddresses.find((address) => sameIp(address.local, local));
    return { transport, address: translated === undefined ? local : withPort(translated.relayed, local.port) };
  });
}

/** RFC 7065 knows no WebSocket: browsers refuse a whole list of ICE servers for one URL that they can't read. */
const URL_FORMS: Readonly<
  Record<Listening["transport"], { readonly scheme: string; readonly transport: string } | undefined>
> = {
  udp: { scheme: "turn", transport: "udp" },
  tcp: { scheme: "turn", transport: "tcp" },
  tls: { scheme: "turns", transport: "tcp" },
  dtls: { scheme: "turns", transport: "udp" },
  ws: undefined,
  wss: undefined,
};
type Listening = Relay["listening"][number];

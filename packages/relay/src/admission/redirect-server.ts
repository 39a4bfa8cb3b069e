import { formatTransportAddress, parseTransportAddress, type TransportAddress } from "@turnpike/stun";

/** Reads the address of a server that clients are sent to. @throws TypeError */
export function parseRedirectServer(text: string): TransportAddress {
  const address = parseTransportAddress(text);
  if (address === undefined || address.port === 0) {
    const example = formatTransportAddress({ family: 4, w0: 0, w1: 0, w2: 0xffff, w3: 0xc0000201 | 0, port: 3478 });
    throw new TypeError(`Cannot redirect to ${JSON.stringify(text)}: expected ADDRESS:PORT, such as ${example}`);
  }
  return address;
}

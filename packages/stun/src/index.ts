export type { StunCrypto } from "./crypto.ts";
export { AddressRegister, type IpAddress, type TransportAddress } from "./ip-address.ts";

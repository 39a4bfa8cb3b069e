export {
  alternateServer,
  mappedAddress,
  otherAddress,
  responseOrigin,
  xorMappedAddress,
  xorPeerAddress,
  xorRelayedAddress,
} from "./addresses.ts";
export { addressErrorCode, errorCode, icmp, unknownAttributes } from "./errors.ts";
export type { AddressError, IcmpError, StunError } from "./errors.ts";
export {
  additionalAddressFamily,
  changeRequest,
  dontFragment,
  evenPort,
  requestedAddressFamily,
  requestedTransport,
  transportProtocols,
  useCandidate,
} from "./flags.ts";
export type { ChangeRequest } from "./flags.ts";
export {
  cacheTimeout,
  channelNumber,
  connectionId,
  fingerprint,
  iceControlled,
  iceControlling,
  lifetime,
  priority,
  responsePort,
} from "./integers.ts";
export {
  accessToken,
  data,
  messageIntegrity,
  messageIntegritySha256,
  mobilityTicket,
  padding,
  reservationToken,
  userhash,
} from "./opaque.ts";
export { passwordAlgorithm, passwordAlgorithmNumbers, passwordAlgorithms } from "./password-algorithms.ts";
export type { PasswordAlgorithm } from "./password-algorithms.ts";
export { alternateDomain, nonce, realm, software, thirdPartyAuthorization, username } from "./text.ts";

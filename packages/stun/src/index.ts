export * from "./attributes/index.ts";
export {
  attribute,
  findAttribute,
  getAttribute,
  getAttributes,
  hasAttribute,
  rawAttribute,
  valueOffset,
} from "./attributes/codec.ts";
export type {
  AttributeCodec,
  AttributeContext,
  AttributeError,
  AttributeErrorCode,
  AttributeResult,
  EncodedAttribute,
} from "./attributes/codec.ts";
export {
  CHANNEL_DATA_HEADER_LENGTH,
  channelDataLength,
  channelDataNumber,
  decodeChannelData,
  encodeChannelData,
  isChannelData,
  MAXIMUM_CHANNEL,
  MAXIMUM_CHANNEL_RFC5766,
  MINIMUM_CHANNEL,
  writeChannelDataHeader,
} from "./channel-data.ts";
export type { ChannelData, ChannelDataError, ChannelDataResult } from "./channel-data.ts";
export type { StunCrypto } from "./crypto.ts";
export { decodeMessage, unknownComprehensionRequired } from "./decode.ts";
export { encodeMessage } from "./encode.ts";
export type { MessageIntegrity, MessageToEncode } from "./encode.ts";
export { crc32, fingerprintOf } from "./fingerprint.ts";
export { HEADER_LENGTH, isStun, MAGIC_COOKIE, TRANSACTION_ID_LENGTH } from "./header.ts";
export type { MessageClass } from "./header.ts";
export { integrityAlgorithms, verifyIntegrity } from "./integrity.ts";
export type { IntegrityAlgorithm, VerifyIntegrityOptions } from "./integrity.ts";
export { AddressRegister } from "./ip-address.ts";
export type { IpAddress, TransportAddress } from "./ip-address.ts";
export {
  formatIpAddress,
  formatTransportAddress,
  ipBytes,
  ipFromBytes,
  parseIpAddress,
  parseTransportAddress,
  sameIp,
  sameTransportAddress,
  transportAddress,
  withPort,
} from "./ip-text.ts";
export { longTermKey, userhashOf } from "./long-term-credential.ts";
export type { LongTermKeyOptions } from "./long-term-credential.ts";
export { MAXIMUM_ATTRIBUTES } from "./message.ts";
export type { DecodeError, DecodeErrorCode, DecodeResult, RawAttribute, StunMessage } from "./message.ts";
export { opaqueString } from "./opaque-string.ts";
export { attributes, attributeWireName, isComprehensionRequired } from "./registry/attributes.ts";
export type { AttributeEntry, AttributeName } from "./registry/attributes.ts";
export { errorCodes, reasonPhrase } from "./registry/error-codes.ts";
export type { ErrorCodeEntry, ErrorCodeName, ErrorCodeNumber } from "./registry/error-codes.ts";
export { methodName, methods } from "./registry/methods.ts";
export type { Method, MethodEntry } from "./registry/methods.ts";
export {
  DATA_INDICATION_HEADROOM,
  DATA_INDICATION_TAILROOM,
  isSendIndication,
  scanSendIndication,
  SendIndicationError,
  SendIndicationView,
  writeDataIndicationHeader,
} from "./indications.ts";
export { MAXIMUM_STREAM_FRAME, StreamFramer } from "./stream-framer.ts";
export type { StreamFrame, StreamFrameError } from "./stream-framer.ts";
export { decodeUtf8, encodeUtf8 } from "./utf8.ts";
export { constantTimeEqual } from "./bytes.ts";

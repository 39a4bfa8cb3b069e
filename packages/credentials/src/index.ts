export type { AmbientGlobals, FetchInit, FetchResponse } from "./ambient.ts";
export {
  type GenerateIceServersResponse,
  type IceServer,
  readIceServers,
  type ReceivedIceServers,
  type TimeLimitedCredential,
  toGenerateIceServersResponse,
  toIceServers,
  toTurnRestResponse,
  type TurnRestResponse,
} from "./ice-servers.ts";
export { type KeyedHash, type KeyedHashAlgorithm, type SyncKeyedHash, webCrypto } from "./keyed-hash.ts";
export {
  type CurrentIceServers,
  type IceServersRefresher,
  IceServersUnavailableError,
  type PeerConnectionLike,
  refreshIceServers,
  type RefreshOptions,
  type RefreshWorld,
} from "./refresh.ts";
export {
  DEFAULT_MAX_TTL_SECONDS,
  DEFAULT_TTL_SECONDS,
  type MintOptions,
  mintTimeLimited,
  type MintTimes,
  type Secret,
  timeLimitedPassword,
  type TimeLimitedPasswordOptions,
  type Verification,
  type VerifyOptions,
  verifyTimeLimited,
} from "./shared-secret.ts";
export {
  mintStamp,
  type MintStampOptions,
  parseStampedName,
  type StampedName,
  stampPassword,
  type StampPasswordOptions,
  verifyStamp,
  type VerifyStampOptions,
} from "./stamp.ts";
export {
  formatTimeLimitedName,
  MAX_USERNAME_BYTES,
  parseTimeLimitedName,
  type TimeLimitedForm,
  type TimeLimitedName,
} from "./time-limited-name.ts";

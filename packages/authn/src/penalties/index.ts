export type { Ban, BanSubject } from "./ban-list.ts";
export {
  type Attempt,
  type Guarded,
  Penalties,
  type PenaltiesOptions,
  type PenaltyCounters,
  type Refused,
} from "./penalties.ts";
export { type Admission, PenaltyBox, type Settlement, type Verdict } from "./penalty-box.ts";
export {
  type AutomaticBan,
  CONSTANT_DELAY,
  GROWING_DELAY,
  type PenaltyDelay,
  type PenaltySettings,
} from "./penalty-settings.ts";
export { addressPrefix, type AddressPrefix, addressPrefixOf, type AttemptSource } from "./source.ts";
export {
  type TurnAdmission,
  type TurnAttempt,
  type TurnDue,
  type TurnOutcome,
  TurnPenalties,
  type TurnPenaltiesOptions,
  type TurnSettlement,
} from "./turn-penalties.ts";

export { httpRequest } from "./http-request.ts";
export { ManualClock } from "./manual-clock.ts";
export { type LogLine, RecordingLogger } from "./recording-logger.ts";
export { accessTokenStoreContract, type ContractCase, sessionStoreContract } from "./store-contract.ts";

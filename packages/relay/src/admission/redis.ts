export { RedisAdmissionStore, type RedisAdmissionStoreOptions } from "./redis-store.ts";
export { RedisFleetLoads, type RedisFleetLoadsOptions } from "./redis-fleet-loads.ts";

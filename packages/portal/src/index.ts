export { isRole, mayDo, type Permission, PERMISSIONS, type Role, ROLES } from "./access/roles.ts";
export { ConflictError, ForbiddenError, NotFoundError, PortalError, UnavailableError } from "./errors.ts";
export type { FleetAllocation, FleetEvent, FleetState, LinkedRelay } from "./fleet/fleet-state.ts";
export { RedisFlushBus, type RedisFlushBusOptions } from "./fleet/redis-flush-bus.ts";
export type { Access, RegisteredRoute } from "./http/access.ts";
export {
  describeApi,
  type FirstStart,
  type Portal,
  type PortalOptions,
  type PortalScheme,
  startPortal,
} from "./portal.ts";
export type { Minted } from "./minter.ts";
export type { Services } from "./services.ts";

import type { CreateAuthenticate } from "@turnpike/relay";
import { staticUsers } from "../sim/support/authentication.ts";

/** Users with fixed passwords (`{name: password}`), for reactors that run on threads. */
export const createAuthenticate: CreateAuthenticate = (users) => {
  const given: Readonly<Record<string, string>> = Object(users);
  return staticUsers(given);
};

import { execFileSync } from "node:child_process";
import type { Place } from "./subjects.ts";

/** A pair of places that reach each other, and how they came to be. */
export interface Path {
  readonly name: "loopback" | "namespaces";
  readonly relay: Place;
  readonly generator: Place;
  remove(): void;
}

export const RELAY_CORE = 1;
export const GENERATOR_CORE = 0;

/** Both on `lo`. */
export function loopback(): Path {
  const ip = "127.0.0.1";
  return {
    name: "loopback",
    relay: { ip, core: RELAY_CORE, enter: [] },
    generator: { ip, core: GENERATOR_CORE, enter: [] },
    remove() {},
  };
}

/**
 * Two network namespaces joined by a veth pair with an MTU of 1500. What arrives at the relay is handled on the relay's
 * core (RPS), as a network card's interrupts would be. Needs root and iproute2.
 */
export function namespaces(): Path {
  const [relay, generator] = [`bench-relay-${process.pid}`, `bench-load-${process.pid}`];
  const ip = (...words: readonly string[]): void => {
    execFileSync("ip", words);
  };
  const remove = (): void => {
    for (const name of [relay, generator]) {
      try {
        ip("netns", "delete", name);
      } catch {
        // It was never made.
      }
    }
  };
  try {
    ip("netns", "add", relay);
    ip("netns", "add", generator);
    ip("link", "add", "veth0", "netns", relay, "type", "veth", "peer", "name", "veth0", "netns", generator);
    for (const [name, address, core] of [
      [relay, "10.213.0.1/24", RELAY_CORE],
      [generator, "10.213.0.2/24", GENERATOR_CORE],
    ] as const) {
      ip("-n", name, "address", "add", address, "dev", "veth0");
      ip("-n", name, "link", "set", "lo", "up");
      ip("-n", name, "link", "set", "veth0", "up");
      const steer = `echo ${(1 << core).toString(16)} > /sys/class/net/veth0/queues/rx-0/rps_cpus`;
      ip("netns", "exec", name, "sh", "-c", steer);
    }
  } catch (error) {
    remove();
    throw error;
  }
  return {
    name: "namespaces",
    relay: { ip: "10.213.0.1", core: RELAY_CORE, enter: ["ip", "netns", "exec", relay] },
    generator: { ip: "10.213.0.2", core: GENERATOR_CORE, enter: ["ip", "netns", "exec", generator] },
    remove,
  };
}

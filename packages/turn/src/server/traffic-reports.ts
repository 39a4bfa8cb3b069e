import type { Allocation } from "./allocation.ts";
import type { Now } from "./contract.ts";
import type { Core } from "./core.ts";
import type { Alarm } from "./registry.ts";
import { totalsOf } from "./teardown.ts";

/** Tells of traffic while it goes on, so that what a session costs is known before it ends. */
export class TrafficReports {
  readonly #core: Core;
  readonly #alarms = new Map<Allocation, Alarm>();

  constructor(core: Core) {
    this.#core = core;
    core.beforeDelete.push((allocation) => this.#end(allocation));
  }

  begin(allocation: Allocation, now: Now): void {
    const seconds = this.#core.options.trafficReportSeconds;
    if (seconds === undefined) return;
    const alarm: Alarm = {
      kind: "alarm",
      ring: (at) => {
        if (this.#core.wants("trafficReport")) {
          this.#core.event({
            type: "trafficReport",
            context: this.#core.context(allocation, at),
            totals: totalsOf(allocation, at),
          });
        }
        this.#core.registry.timers.set(alarm, at.monotonicMs + seconds * 1000);
      },
    };
    this.#alarms.set(allocation, alarm);
    this.#core.registry.timers.set(alarm, now.monotonicMs + seconds * 1000);
  }

  #end(allocation: Allocation): void {
    const alarm = this.#alarms.get(allocation);
    if (alarm === undefined) return;
    this.#alarms.delete(allocation);
    this.#core.registry.timers.delete(alarm);
  }
}

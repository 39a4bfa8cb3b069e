import type { Load } from "./generator.ts";

/** One kind of traffic. */
export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly load: Pick<Load, "direction" | "flows" | "size" | "burst" | "rate">;
  /** Also part of a quick run. */
  readonly quick: boolean;
}

const KINDS = [
  { id: "voice", title: "Voice (172 bytes)", shape: { size: 172, burst: 1, rate: 0 } },
  { id: "bursts", title: "Bursts of 8 × 1200 bytes", shape: { size: 1200, burst: 8, rate: 0 } },
] as const;
const FLOWS = [1, 32, 256] as const;
const DIRECTIONS = ["up", "down"] as const;
const QUICK: readonly string[] = ["voice-32-up", "voice-32-down", "bursts-32-up"];

/** Voice is small packets of many flows in turns; bursts are runs of large packets of one flow, as video is. */
export const scenarios: readonly Scenario[] = [
  ...KINDS.flatMap(({ id: kind, title, shape }) =>
    FLOWS.flatMap((flows) =>
      DIRECTIONS.map((way): Scenario => {
        const id = `${kind}-${flows}-${way}`;
        return {
          id,
          title: `${title}, ${flows} ${flows === 1 ? "flow" : "flows"}, to the ${way === "up" ? "peer" : "clients"}`,
          load: { ...shape, flows, direction: way === "up" ? "to peer" : "to client" },
          quick: QUICK.includes(id),
        };
      }),
    ),
  ),
  {
    id: "rate-50k",
    title: "50,000 packets a second of voice, 32 flows, to the peer",
    load: { size: 172, burst: 1, flows: 32, direction: "to peer", rate: 50_000 },
    quick: false,
  },
];

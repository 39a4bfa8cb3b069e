import type { Load } from "./generator.ts";

/** One kind of traffic. */
export interface Scenario {
  readonly id: string;
  readonly title: string;
  readonly load: Pick<Load, "direction" | "flows" | "size" | "burst" | "rate">;
  /** Also part of a quick run. */
  readonly quick: boolean;
}

const VOICE = { size: 172, burst: 1, rate: 0 } as const;
const VIDEO = { size: 1200, burst: 8, rate: 0 } as const;

/** Voice is small packets of many flows in turns; video is runs of large packets of one flow. */
export const scenarios: readonly Scenario[] = [
  {
    id: "voice-32-up",
    title: "Voice, 32 flows, to the peers",
    load: { ...VOICE, flows: 32, direction: "to peer" },
    quick: true,
  },
  {
    id: "voice-32-down",
    title: "Voice, 32 flows, to the clients",
    load: { ...VOICE, flows: 32, direction: "to client" },
    quick: true,
  },
  {
    id: "voice-256-up",
    title: "Voice, 256 flows, to the peers",
    load: { ...VOICE, flows: 256, direction: "to peer" },
    quick: false,
  },
  {
    id: "voice-256-down",
    title: "Voice, 256 flows, to the clients",
    load: { ...VOICE, flows: 256, direction: "to client" },
    quick: false,
  },
  {
    id: "video-32-up",
    title: "Bursts of 8 × 1200 bytes, 32 flows, to the peers",
    load: { ...VIDEO, flows: 32, direction: "to peer" },
    quick: true,
  },
  {
    id: "video-32-down",
    title: "Bursts of 8 × 1200 bytes, 32 flows, to the clients",
    load: { ...VIDEO, flows: 32, direction: "to client" },
    quick: false,
  },
  {
    id: "one-up",
    title: "One flow in bursts of 16 × 172 bytes, to the peer",
    load: { size: 172, burst: 16, rate: 0, flows: 1, direction: "to peer" },
    quick: false,
  },
  {
    id: "rate-50k",
    title: "50,000 packets a second of voice, 32 flows: latency",
    load: { ...VOICE, flows: 32, direction: "to peer", rate: 50_000 },
    quick: false,
  },
];

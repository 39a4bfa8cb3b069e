/** A measurement that is a script of its own, and part of a whole run. */
export interface OtherPart {
  readonly id: "requests" | "allocations" | "systemCalls" | "start";
  readonly title: string;
  readonly script: { readonly file: string; readonly flags: readonly string[] };
}

const FROM_SOURCE = ["--conditions=@turnpike/source"];

/** In the order of the page. */
export const otherParts: readonly OtherPart[] = [
  { id: "requests", title: "Requests", script: { file: "requests.ts", flags: FROM_SOURCE } },
  {
    id: "systemCalls",
    title: "A reactor beside another, of its own relay and of a relay of its own",
    script: { file: "system-calls.ts", flags: [] },
  },
  {
    id: "allocations",
    title: "A whole port range of allocations, over four reactors",
    // On what is built, as it is installed: sources would be stripped of their types on every thread.
    script: { file: "allocations.ts", flags: [] },
  },
  { id: "start", title: "Start", script: { file: "../start.ts", flags: [] } },
];

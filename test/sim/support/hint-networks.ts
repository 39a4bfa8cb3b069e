import { Race, type Lane, type RaceOptions } from "@turnpike/hints";

/** How one address behaves. Times are milliseconds after the connection is begun. */
export type Behaviour =
  | { readonly kind: "answers"; readonly after: number; readonly proven: number }
  | { readonly kind: "blackhole" }
  | { readonly kind: "refuses"; readonly after: number }
  | { readonly kind: "wrong-identity"; readonly after: number; readonly unmasked: number };

/** One hint of a simulated network: a name with addresses, or one way without resolution. */
export interface SimulatedHint {
  readonly text: string;
  /** When it becomes known. Default 0. */
  readonly at?: number;
  readonly lane?: Lane;
  /** Without resolution: how the way behaves. */
  readonly way?: Behaviour;
  /** With resolution: how long each family's answer takes, and how its addresses behave. */
  readonly ipv6?: { readonly answeredAfter: number; readonly addresses: readonly Behaviour[] };
  readonly ipv4?: { readonly answeredAfter: number; readonly addresses: readonly Behaviour[] };
}

/** What became of a race. */
export interface SimulationResult {
  /** When it was decided, in milliseconds. */
  readonly at: number;
  readonly winner: string | undefined;
  readonly error: Error | undefined;
  /** Every connection begun: `time hint address`. */
  readonly begun: readonly string[];
  readonly abandoned: number;
  readonly race: Race;
}

type Event = { readonly at: number; readonly order: number; readonly run: (now: number) => void };

/** Runs hints through a race on a clock that jumps from event to event. */
export function simulate(hints: readonly SimulatedHint[], options: RaceOptions = {}): SimulationResult {
  const events: Event[] = [];
  let order = 0;
  const schedule = (at: number, run: (now: number) => void): void => {
    order += 1;
    events.push({ at, order, run });
  };
  const race = new Race({ ...options, now: 0 });
  const world = new Map<number, SimulatedHint>();
  const begun: string[] = [];
  let abandoned = 0;
  let outcome: { readonly at: number; readonly winner?: string; readonly error?: Error } | undefined;

  const add = (hint: SimulatedHint, now: number): void => {
    const index = race.addHint({ text: hint.text, type: hint.text.split(":")[0] ?? "" }, now);
    world.set(index, hint);
    const lane = hint.lane ?? "public";
    race.plan(index, hint.way === undefined ? { kind: "resolve", families: [6, 4] } : { kind: "connect", lane }, now);
  };
  const begin = (attempt: number, behaviour: Behaviour, now: number): void => {
    if (behaviour.kind === "refuses") {
      schedule(now + behaviour.after, (at) => race.failed(attempt, new Error("ECONNREFUSED"), at));
    } else if (behaviour.kind !== "blackhole") {
      schedule(now + behaviour.after, (at) => race.connected(attempt, at));
      if (behaviour.kind === "answers") schedule(now + behaviour.proven, (at) => void race.proven(attempt, at));
      else schedule(now + behaviour.unmasked, (at) => race.failed(attempt, new Error("wrong identity"), at));
    }
  };
  const drain = (now: number): void => {
    for (let output = race.poll(); output !== undefined; output = race.poll()) {
      if (output.kind === "abandon") abandoned += 1;
      if (output.kind === "lost") outcome = { at: now, error: output.error };
      if (output.kind === "won") outcome = { at: now, winner: world.get(output.hint)?.text ?? "" };
      if (output.kind === "resolve") {
        const { hint, family } = output;
        const answer = family === 6 ? world.get(hint)?.ipv6 : world.get(hint)?.ipv4;
        const lane = world.get(hint)?.lane ?? "public";
        const addresses = (answer?.addresses ?? []).map((_, index) => ({ address: `v${family}#${index}`, lane }));
        schedule(now + (answer?.answeredAfter ?? 1), (at) => {
          if (addresses.length === 0) race.resolutionFailed(hint, family, new Error("ENOTFOUND"), at);
          else race.resolved(hint, family, addresses, at);
        });
      }
      if (output.kind === "connect") {
        const hint = world.get(output.hint);
        begun.push(`${now} ${hint?.text ?? ""} ${output.address ?? "-"}`);
        const [family, index] = (output.address ?? "").split("#");
        const among = family === "v6" ? hint?.ipv6 : hint?.ipv4;
        const behaviour = hint?.way ?? among?.addresses[Number(index)];
        if (behaviour === undefined) throw new Error("the race asked for an address that nobody gave it");
        begin(output.attempt, behaviour, now);
      }
    }
  };

  const later = Math.max(0, ...hints.map((hint) => hint.at ?? 0));
  for (const hint of hints.filter((one) => (one.at ?? 0) === 0)) add(hint, 0);
  for (const hint of hints.filter((one) => (one.at ?? 0) > 0))
    schedule(hint.at ?? 0, (now) => {
      add(hint, now);
      race.timeout(now);
    });
  if (later === 0) race.endHints(0);
  else schedule(later, (now) => race.endHints(now));
  drain(0);
  for (let steps = 0; !race.over; steps += 1) {
    if (steps > 10_000) throw new Error("the race does not end");
    events.sort((left, right) => left.at - right.at || left.order - right.order);
    const timer = race.pollTimeout();
    const event = events[0];
    if (event !== undefined && (timer === undefined || event.at <= timer)) {
      events.shift();
      event.run(event.at);
      drain(event.at);
    } else if (timer !== undefined) {
      race.timeout(timer);
      drain(timer);
    } else {
      throw new Error("the race waits for nothing");
    }
  }
  if (outcome === undefined) throw new Error("the race is over and has no outcome");
  return { at: outcome.at, winner: outcome.winner, error: outcome.error, begun, abandoned, race };
}

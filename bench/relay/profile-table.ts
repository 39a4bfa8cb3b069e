/** Of one relay under one load. */
export interface Profile<Part extends string> {
  readonly name: string;
  /** CPU time of a packet or a request. */
  readonly costUs: number;
  readonly samples: number;
  readonly shares: ReadonlyMap<Part, number>;
}

/** What samples say: each part's share of them. */
export function profileOf<Part extends string>(name: string, costUs: number, found: readonly Part[]): Profile<Part> {
  const counts = new Map<Part, number>();
  for (const part of found) counts.set(part, (counts.get(part) ?? 0) + 1);
  const shares = new Map([...counts].map(([part, count]) => [part, count / found.length]));
  return { name, costUs, samples: found.length, shares };
}

/** Microseconds of CPU time, by what they were spent on. */
export function profileTable<Part extends string>(
  what: "packet" | "request",
  parts: readonly Part[],
  profiles: readonly Profile<Part>[],
): readonly string[] {
  const us = ({ costUs, shares }: Profile<Part>, which: readonly Part[]): string =>
    (costUs * which.reduce((sum, part) => sum + (shares.get(part) ?? 0), 0)).toFixed(2);
  const row = (title: string, which: readonly Part[]): readonly string[] => [
    title,
    ...profiles.map((each) => us(each, which)),
  ];
  const kernel = parts.filter((part) => part.startsWith("kernel"));
  const rows = [
    [`µs of CPU time for a ${what}`, ...profiles.map(({ name }) => name)],
    ["---", ...profiles.map(() => "---:")],
    ...parts.filter((part) => profiles.some(({ shares }) => shares.has(part))).map((part) => row(part, [part])),
    row("**all of the kernel's**", kernel),
    row(
      "**all but the kernel's**",
      parts.filter((part) => !kernel.includes(part)),
    ),
    ["samples", ...profiles.map(({ samples }) => String(samples))],
  ];
  return rows.map((cells) => `| ${cells.join(" | ")} |`);
}

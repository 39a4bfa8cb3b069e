import { cost, generators, isDisturbed, type Row } from "./kernel-figures.ts";
import { nameOf } from "./kernel-report.ts";
import { COLOURS } from "./plot.ts";
import { kernelModes, type SubjectName } from "./subjects.ts";

const SUBJECTS: readonly SubjectName[] = ["coturn", "batched", ...kernelModes];
const [PANEL, GAP, LEFT, TOP, HEIGHT] = [300, 70, 60, 60, 300];
const [LEAST_KPPS, MOST_KPPS] = [50, 5000];
const LINES = [50, 100, 200, 500, 1000, 2000, 5000];

/** Packets for a second of the relay's core over flows, a panel for each generator; the scale is logarithmic. */
export function plot(rows: readonly Row[]): string {
  const flows = [...new Set(rows.map((row) => row.flows))].toSorted((a, b) => a - b);
  const width = LEFT + generators.length * (PANEL + GAP);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${TOP + HEIGHT + 60}" viewBox="0 0 ${width} ${TOP + HEIGHT + 60}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${TOP + HEIGHT + 60}" fill="#ffffff"/>`,
  ];
  for (const [index, subject] of SUBJECTS.entries()) {
    parts.push(
      `<rect x="${LEFT + index * 125}" y="10" width="12" height="12" fill="${COLOURS[subject]}"/>`,
      `<text x="${LEFT + index * 125 + 18}" y="20" fill="#222222">${nameOf(subject)}</text>`,
    );
  }
  const y = (kpps: number): number =>
    TOP + HEIGHT * (1 - Math.log(kpps / LEAST_KPPS) / Math.log(MOST_KPPS / LEAST_KPPS));
  for (const [panel, generator] of generators.entries()) {
    const left = LEFT + panel * (PANEL + GAP);
    const x = (count: number): number =>
      left + 30 + (flows.indexOf(count) * (PANEL - 60)) / Math.max(1, flows.length - 1);
    parts.push(`<text x="${left}" y="${TOP - 14}" fill="#222222">${generator}: kpps of a busy core</text>`);
    for (const kpps of LINES) {
      parts.push(
        `<line x1="${left}" y1="${y(kpps).toFixed(1)}" x2="${left + PANEL}" y2="${y(kpps).toFixed(1)}" stroke="#dddddd"/>`,
        `<text x="${left - 6}" y="${(y(kpps) + 4).toFixed(1)}" text-anchor="end" fill="#777777">${kpps}</text>`,
      );
    }
    for (const count of flows) {
      parts.push(
        `<text x="${x(count)}" y="${TOP + HEIGHT + 18}" text-anchor="middle" fill="#777777">${count} ${count === 1 ? "flow" : "flows"}</text>`,
      );
    }
    for (const subject of SUBJECTS) {
      for (const direction of ["to peer", "to client"] as const) {
        const points = flows.flatMap((count) => {
          const row = rows.find(
            (each) =>
              each.generator === generator &&
              each.subject === subject &&
              each.direction === direction &&
              each.flows === count &&
              !isDisturbed(each),
          );
          return row === undefined ? [] : [`${x(count).toFixed(1)},${y(1000 / cost(row)).toFixed(1)}`];
        });
        const dashes = direction === "to client" ? ` stroke-dasharray="6 4"` : "";
        parts.push(
          `<polyline points="${points.join(" ")}" fill="none" stroke="${COLOURS[subject]}" stroke-width="2"${dashes}/>`,
        );
      }
    }
  }
  parts.push(
    `<text x="${LEFT}" y="${TOP + HEIGHT + 44}" fill="#777777">lines: from clients to peers; dashes: from peers to clients</text>`,
  );
  return `${parts.join("\n")}\n</svg>\n`;
}

import { figure, type Run } from "./report.ts";
import { type SubjectName, subjectNames } from "./subjects.ts";

/** Of each relay, in every plot. */
export const COLOURS: Readonly<Record<SubjectName, string>> = {
  coturn: "#8a8f98",
  yardstick: "#c9a227",
  portable: "#7aa6c2",
  batched: "#2f6f4f",
  native: "#b5532a",
  tcx: "#d98a1f",
  generic: "#8a5fa8",
};

/** Bars: packets for a second of CPU time, as a multiple of coturn's. */
export function plot(run: Run): string {
  const bar = 14;
  const group = subjectNames.length * bar + 26;
  const left = 330;
  const scale = 150;
  const height = 50 + run.outcomes.length * group;
  const width = left + 560;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
  ];
  for (const [index, subject] of subjectNames.entries()) {
    parts.push(
      `<rect x="${left + index * 110}" y="14" width="12" height="12" fill="${COLOURS[subject]}"/>`,
      `<text x="${left + index * 110 + 18}" y="24" fill="#222222">${subject}</text>`,
    );
  }
  parts.push(`<line x1="${left + scale}" y1="36" x2="${left + scale}" y2="${height}" stroke="#dddddd"/>`);
  for (const [index, outcome] of run.outcomes.entries()) {
    const top = 50 + index * group;
    parts.push(
      `<text x="${left - 10}" y="${top + 26}" text-anchor="end" fill="#222222">${outcome.scenario.title}</text>`,
      `<text x="${left - 10}" y="${top + 42}" text-anchor="end" fill="#777777">${outcome.path}</text>`,
    );
    for (const [row, subject] of subjectNames.entries()) {
      if (!outcome.rounds.has(subject)) continue;
      const value =
        figure(outcome, "coturn", "cpuSecondsPerMillion") / figure(outcome, subject, "cpuSecondsPerMillion");
      const length = Math.max(1, Math.min(540, value * scale));
      const y = top + row * bar;
      parts.push(
        `<rect x="${left}" y="${y}" width="${length.toFixed(1)}" height="${bar - 2}" fill="${COLOURS[subject]}"/>`,
        `<text x="${(left + length + 5).toFixed(1)}" y="${y + 10}" font-size="10" fill="#444444">${value.toFixed(2)}×</text>`,
      );
    }
  }
  return `${parts.join("\n")}\n</svg>\n`;
}

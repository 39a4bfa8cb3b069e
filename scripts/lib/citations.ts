import type { Finding } from "./findings.ts";
import type { Page } from "./markdown.ts";

/** For each RFC the numbers of its sections. */
export type SectionTable = ReadonlyMap<string, ReadonlySet<string>>;

/** Reads `rfc-sections.json`: RFC number → section numbers, divided by spaces. */
export function readSectionTable(json: string): SectionTable {
  const parsed: unknown = JSON.parse(json);
  if (typeof parsed !== "object" || parsed === null) throw new TypeError("rfc-sections.json must hold an object");
  return new Map(Object.entries(parsed).map(([rfc, sections]) => [rfc, new Set(String(sections).split(" "))]));
}

/** `RFC 8656 §7.2`, also several in a row: `RFC 8656 §7.2, §7.3`, `RFC 8656 §7.2–§7.4`, `§§7.2 and 7.3` is not a form. */
const CITATION = /RFC (\d{3,5})((?:(?:, | and |–|-)?\s?§[0-9A-Z]+(?:\.[0-9]+)*)+)/g;

/** Finds citations of sections that don't exist. */
export function checkCitations(pages: readonly Page[], table: SectionTable): readonly Finding[] {
  return pages.flatMap(({ path, text }) =>
    text.split("\n").flatMap((line, index) =>
      [...line.matchAll(CITATION)].flatMap(([, rfc = "", list = ""]) => {
        const where = `${path}:${index + 1}`;
        const sections = table.get(rfc);
        if (sections === undefined) {
          return [
            { where, message: `the sections of RFC ${rfc} are not known: add them to scripts/rfc-sections.json` },
          ];
        }
        return [...list.matchAll(/§([0-9A-Z]+(?:\.[0-9]+)*)/g)].flatMap(([, section = ""]) =>
          sections.has(section) ? [] : [{ where, message: `RFC ${rfc} has no section ${section}` }],
        );
      }),
    ),
  );
}

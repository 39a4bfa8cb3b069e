import type { Finding } from "./findings.ts";
import type { SectionTable } from "./citations.ts";

/** A row of a table: `| §7.2 | what | [name of the test](../test/file.test.ts) |`. */
const ROW = /^\| *§([0-9A-Z.]+) *\|.*\| *\[(.+)\]\(\.\.\/(.+?)\) *\|$/;

/** Finds rows of docs/conformance.md whose section or test doesn't exist, and tables without any row. */
export function checkConformance(
  page: { readonly path: string; readonly text: string },
  options: { readonly sections: SectionTable; readonly readTest: (path: string) => string | undefined },
): readonly Finding[] {
  const findings: Finding[] = [];
  let rfc = "";
  let rows = 0;
  for (const [index, line] of page.text.split("\n").entries()) {
    rfc = /^## RFC (\d+)/.exec(line)?.[1] ?? rfc;
    const row = ROW.exec(line);
    if (row === null) continue;
    rows++;
    const [, section = "", name = "", file = ""] = row;
    const where = `${page.path}:${index + 1}`;
    if (options.sections.get(rfc)?.has(section) !== true) {
      findings.push({ where, message: `RFC ${rfc} has no section ${section}` });
    }
    const source = options.readTest(file);
    if (source === undefined) findings.push({ where, message: `there is no test file ${file}` });
    else if (!isNamed(source, name)) findings.push({ where, message: `${file} has no test "${name}"` });
  }
  if (rows === 0) findings.push({ where: page.path, message: "no row names a test" });
  return findings;
}

/** Whether a title begins a string of the source: titles may go on with a placeholder. */
function isNamed(source: string, name: string): boolean {
  return ['"', "'", "`"].some((quote) => source.includes(quote + name));
}

/**
 * Holds the documents against the code: generated pages, links, examples, and the sections of RFCs that are cited.
 * Run it by `npm run check:docs`, which resolves the packages to their sources.
 */
import { readFileSync } from "node:fs";
import { posix } from "node:path";
import { repositoryFiles, ROOT } from "./lib/files.ts";
import { report } from "./lib/findings.ts";
import { generatedPages } from "./lib/generated.ts";
import { checkCitations, readSectionTable } from "./lib/citations.ts";
import { checkConformance } from "./lib/conformance.ts";
import { checkExamples, checkLinks, type Page } from "./lib/markdown.ts";

const read = (path: string): string => readFileSync(ROOT + path, "utf8");
const markdown = repositoryFiles("*.md").map((path): Page => ({ path, text: read(path) }));
const sources = repositoryFiles("packages/*.ts", "packages/*.json", "test/*.ts", "*.md").map((path): Page => ({
  path,
  text: read(path),
}));
const files = new Set(repositoryFiles());

const sections = readSectionTable(read("scripts/rfc-sections.json"));

const generated = await generatedPages();
const stale = [...generated].flatMap(([path, text]) =>
  files.has(path) && read(path) === text
    ? []
    : [{ where: path, message: "is out of step with the code: run `npm run docs`" }],
);

// What no test runs breaks without anybody seeing it.
const tests = repositoryFiles("*.test.ts").map(read);
const untested = repositoryFiles("examples/*.ts")
  .filter((path) => !tests.some((text) => text.includes(path) || text.includes(`"${posix.basename(path, ".ts")}"`)))
  .map((path) => ({ where: path, message: "no test runs this example" }));

report(
  [
    ...stale,
    ...untested,
    ...checkLinks(markdown, files),
    ...checkExamples(markdown, { files, read }),
    ...checkCitations(sources, sections),
    ...checkConformance(
      { path: "docs/conformance.md", text: read("docs/conformance.md") },
      { sections, readTest: (path) => (files.has(path) ? read(path) : undefined) },
    ),
  ],
  `${generated.size} generated page(s), links and examples of ${markdown.length} pages, citations of ${sources.length} files: in step`,
);

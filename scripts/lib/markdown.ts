import { posix } from "node:path";
import type { Finding } from "./findings.ts";

/** A text file by its path from the root. */
export interface Page {
  readonly path: string;
  readonly text: string;
}

interface Fence {
  readonly line: number;
  readonly info: string;
  readonly text: string;
}

/** Finds relative links that lead nowhere: to no file of the repository, or to no heading of it. */
export function checkLinks(pages: readonly Page[], files: ReadonlySet<string>): readonly Finding[] {
  const anchors = new Map(pages.map(({ path, text }) => [path, anchorsOf(text)]));
  return pages.flatMap(({ path, text }) =>
    proseLines(text).flatMap(({ line, content }) =>
      [...content.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) => {
        if (/^[a-z][a-z0-9+.-]*:/i.test(target)) return [];
        const where = `${path}:${line}`;
        const [file = "", anchor] = target.split("#");
        const full = file === "" ? path : posix.normalize(posix.join(posix.dirname(path), file)).replace(/\/$/, "");
        const isThere = files.has(full) || [...files].some((other) => other.startsWith(`${full}/`));
        if (!isThere) return [{ where, message: `link to ${target}, which does not exist` }];
        const known = anchors.get(full);
        return anchor === undefined || known === undefined || known.has(anchor)
          ? []
          : [{ where, message: `link to ${target}, but ${full} has no such heading` }];
      }),
    ),
  );
}

/**
 * A fenced block whose first line of information has `file=examples/x.ts` must be that file, word for word (its first
 * comment left out), so that every runnable example is one that runs.
 */
export function checkExamples(
  pages: readonly Page[],
  repository: { readonly files: ReadonlySet<string>; readonly read: (path: string) => string },
): readonly Finding[] {
  return pages.flatMap(({ path, text }) =>
    fencesOf(text).flatMap((fence) => {
      const file = /(?:^|\s)file=(\S+)/.exec(fence.info)?.[1];
      if (file === undefined) return [];
      const where = `${path}:${fence.line}`;
      if (!file.startsWith("examples/") || !repository.files.has(file)) {
        return [{ where, message: `the example ${file} does not exist; runnable examples stand in examples/` }];
      }
      const code = repository.read(file).replace(/^\/\*\*[\s\S]*?\*\/\n/, "");
      return code.trim() === fence.text.trim() ? [] : [{ where, message: `the example differs from ${file}` }];
    }),
  );
}

function fencesOf(text: string): readonly Fence[] {
  const fences: Fence[] = [];
  let open: { readonly line: number; readonly info: string; readonly lines: string[] } | undefined;
  for (const [index, line] of text.split("\n").entries()) {
    const fence = /^\s*```(.*)$/.exec(line);
    if (fence !== null && open === undefined) {
      open = { line: index + 1, info: fence[1] ?? "", lines: [] };
    } else if (fence !== null && open !== undefined) {
      fences.push({ line: open.line, info: open.info, text: open.lines.join("\n") });
      open = undefined;
    } else {
      open?.lines.push(line);
    }
  }
  return fences;
}

/** The lines outside fenced blocks, without code spans. */
function proseLines(text: string): readonly { readonly line: number; readonly content: string }[] {
  let isFenced = false;
  return text.split("\n").flatMap((content, index) => {
    const isFence = /^\s*```/.test(content);
    if (isFence) isFenced = !isFenced;
    return isFence || isFenced ? [] : [{ line: index + 1, content: content.replaceAll(/`[^`]*`/g, "") }];
  });
}

/** The fragment identifiers that GitHub makes of headings. */
function anchorsOf(text: string): ReadonlySet<string> {
  let isFenced = false;
  const anchors = text.split("\n").flatMap((line) => {
    if (/^\s*```/.test(line)) isFenced = !isFenced;
    const heading = isFenced ? null : /^#{1,6}\s+(.*?)\s*#*$/.exec(line);
    if (heading === null) return [];
    const plain = (heading[1] ?? "").toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "");
    return [plain.replaceAll(/\s/g, "-")];
  });
  return new Set(anchors);
}

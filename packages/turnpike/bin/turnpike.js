#!/usr/bin/env node
// Plain JavaScript that old versions parse too: they get a sentence in place of a syntax error.
const LOWEST = [22, 13];
const [major, minor] = process.versions.node.split(".").map(Number);

if (major < LOWEST[0] || (major === LOWEST[0] && minor < LOWEST[1])) {
  process.stderr.write(
    `turnpike: needs Node ${LOWEST.join(".")} or newer, but this is Node ${process.versions.node}. ` +
      "In a clone, `npx turnpike` runs on the right one; else install a newer Node from https://nodejs.org.\n",
  );
  process.exitCode = 1;
} else {
  import("../dist/main.js").catch((error) => {
    const isMissing =
      error instanceof Error && error.code === "ERR_MODULE_NOT_FOUND" && /dist.main\.js/.test(error.message);
    process.stderr.write(
      isMissing
        ? "turnpike: not built yet: run `npm run build`\n"
        : `turnpike: ${error instanceof Error ? error.stack : error}\n`,
    );
    process.exitCode = 1;
  });
}

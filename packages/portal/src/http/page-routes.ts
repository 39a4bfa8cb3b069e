import { DOCUMENT, STYLE } from "../page/document.ts";
import { runPage, runSignIn } from "../page/script.ts";
import { type App, open } from "./routes-types.ts";

const SIGN_IN = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Turnpike: sign in</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<h1>Turnpike</h1>
<p id="state">Signing in …</p>
<script src="/sign-in.js"></script>
</html>
`;

/** A page for browsers: fixed texts, the same for everybody. What is in it comes from the API. */
export function pageRoutes(app: App): void {
  const serve = (url: string, why: string, type: string, text: string): void => {
    app.get(url, {
      config: open(why).config,
      schema: { hide: true },
      handler: (_request, reply) => reply.type(`${type}; charset=utf-8`).header("cache-control", "no-cache").send(text),
    });
  };
  serve("/", "the page, with nothing of anybody in it", "text/html", DOCUMENT);
  serve("/page.css", "how the page looks", "text/css", STYLE);
  serve("/page.js", "what runs in the page", "text/javascript", scriptOf(runPage));
  serve("/sign-in", "the page of a one-time link", "text/html", SIGN_IN);
  serve("/sign-in.js", "the page of a one-time link", "text/javascript", scriptOf(runSignIn));
}

/** A function as a script of its own. */
function scriptOf(run: () => void): string {
  return `"use strict";\n(${String(run)})();\n`;
}

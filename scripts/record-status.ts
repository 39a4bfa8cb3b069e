/**
 * Records `turnpike connect --status` on a terminal and writes it as an animated picture: `npm run docs:status`. One hint
 * has no handler, one is refused, one leads to an impostor, one never answers; the last leads to the right peer.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { performance } from "node:perf_hooks";
import { ROOT } from "./lib/files.ts";

interface Frame {
  readonly atMs: number;
  readonly text: string;
}

const folder = mkdtempSync(join(tmpdir(), "turnpike-recording-"));
const environment = {
  ...process.env,
  NO_COLOR: "",
  TERM: "xterm-256color",
  PATH: [`${ROOT}node_modules/.bin`, process.env["PATH"] ?? ""].join(delimiter),
};
const children: ChildProcess[] = [];
const silent = createServer((socket) => socket.on("error", () => undefined));
try {
  const silentPort = await new Promise<number>((resolve) => {
    silent.listen(0, "127.0.0.1", () => {
      const address = silent.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
  const impostor = await listen("impostor");
  const peer = await listen("peer");
  const reference = peer.reference.replace("@", `@tcp:127.0.0.1:${silentPort},`);
  const hints = ["quic:127.0.0.1:443", "tcp:127.0.0.1:1", impostor.hint];
  const frames = await record(["connect", "--status", ...hints, reference]);
  writeFileSync(`${ROOT}docs/hints-status.svg`, picture("turnpike connect --status HINT… REFERENCE", frames));
  console.log(`wrote docs/hints-status.svg: ${frames.length} frames`);
} finally {
  for (const child of children) child.kill("SIGTERM");
  silent.close();
  rmSync(folder, { recursive: true, force: true });
}

/** Starts `turnpike listen --reference`; resolves with what leads to it. */
async function listen(name: string): Promise<{ readonly hint: string; readonly reference: string }> {
  const args = ["listen", "--reference", "tcp:127.0.0.1:0", `--data-dir=${join(folder, name)}`];
  const child = spawn("turnpike", args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  children.push(child);
  let said = "";
  for await (const chunk of child.stderr) {
    said += String(chunk);
    const hint = /^hint +(\S+)/mu.exec(said)?.[1];
    const reference = /^reference +(\S+)\n/mu.exec(said)?.[1];
    if (hint !== undefined && reference !== undefined) {
      child.stderr.resume();
      return { hint, reference };
    }
  }
  throw new Error(`turnpike listen ended: ${said}`);
}

/** Runs turnpike on a terminal that `script` (util-linux) makes, and keeps what stood on it, picture by picture. */
async function record(args: readonly string[]): Promise<readonly Frame[]> {
  const line = ["stty cols 110; exec turnpike", ...args.map((arg) => `'${arg}'`), "</dev/null >/dev/null"].join(" ");
  const child = spawn("script", ["-qfec", line, "/dev/null"], {
    env: environment,
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  const startMs = performance.now();
  const frames: Frame[] = [];
  for await (const chunk of child.stdout) {
    // Each picture begins by clearing the one before.
    const pictures = String(chunk)
      .replaceAll("\u001B", "␛")
      .split(/\r␛\[\d+A␛\[J/u);
    const text = pictures.at(-1)?.replaceAll("\r\n", "\n").trimEnd();
    if (text !== undefined && text !== "") frames.push({ atMs: performance.now() - startMs, text });
  }
  const first = frames[0]?.atMs ?? 0;
  return frames.map(({ atMs, text }) => ({ atMs: atMs - first, text }));
}

function picture(title: string, frames: readonly Frame[]): string {
  const lineHeight = 20;
  const lines = Math.max(...frames.map(({ text }) => text.split("\n").length));
  const height = (lines + 2) * lineHeight + 16;
  // A last picture stays for three seconds; then it begins again.
  const totalMs = (frames.at(-1)?.atMs ?? 0) + 3000;
  const styles = frames.map((frame, index) => {
    const begin = ((100 * frame.atMs) / totalMs).toFixed(2);
    const end = ((100 * (frames[index + 1]?.atMs ?? totalMs)) / totalMs).toFixed(2);
    const steps = `0%{opacity:0}${begin}%{opacity:1}${end}%{opacity:${index === frames.length - 1 ? 1 : 0}}100%{opacity:0}`;
    return `@keyframes f${index}{${steps}}.f${index}{animation:f${index} ${Math.round(totalMs)}ms step-end infinite}`;
  });
  const groups = frames.map((frame, index) => {
    const rows = frame.text.split("\n").map((row, place) => {
      const y = (place + 2) * lineHeight + 8;
      return `<text x="12" y="${y}" fill="${colorOf(row)}">${escape(plain(row))}</text>`;
    });
    // Who stops animations sees the last picture.
    const opacity = index === frames.length - 1 ? "" : ' opacity="0"';
    return `<g class="f${index}"${opacity}>\n${rows.join("\n")}\n</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 ${height}" font-family="monospace" font-size="14" role="img">`,
    `<title>${escape(title)}</title>`,
    `<style>text{white-space:pre}${styles.join("")}@media (prefers-reduced-motion:reduce){g{animation:none!important}}</style>`,
    `<rect width="900" height="${height}" rx="8" fill="#16181d"/>`,
    `<text x="12" y="${lineHeight + 4}" fill="#d7dae0">$ ${escape(title)}</text>`,
    ...groups,
    "</svg>",
    "",
  ].join("\n");
}

/** The colours that the command writes (SGR 31–36 and 90), its escape character shown as ␛. */
function colorOf(row: string): string {
  const colors: Readonly<Record<string, string>> = {
    31: "#f47067",
    32: "#6bc46d",
    33: "#daaa3f",
    36: "#56d4dd",
    90: "#8b949e",
  };
  return colors[/␛\[(\d+)m/u.exec(row)?.[1] ?? ""] ?? "#d7dae0";
}

function plain(row: string): string {
  return row.replaceAll(/␛\[\d*m/gu, "");
}

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

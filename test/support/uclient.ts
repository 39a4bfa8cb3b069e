import { runChild, startChild, type Child } from "./child.ts";
import { freeUdpPort } from "./turn-server.ts";

/** What a run of coturn's `turnutils_uclient` came to. */
export interface UclientResult {
  readonly code: number | null;
  readonly sent: number;
  readonly received: number;
  /** Undefined if it never came to sending. */
  readonly lost: number | undefined;
  readonly output: string;
}

/** Runs `turnutils_uclient` with `args` against the server at 127.0.0.1 (or `host`) and `port`. */
export async function runUclient(options: {
  readonly port: number;
  readonly args: readonly string[];
  readonly host?: string;
  /** When it is ended, as some of its modes never end. Default 90 s. */
  readonly timeoutMs?: number;
}): Promise<UclientResult> {
  const { code, output } = await runChild({
    command: "turnutils_uclient",
    args: ["-p", String(options.port), ...options.args, options.host ?? "127.0.0.1"],
    timeoutMs: options.timeoutMs ?? 90_000,
  });
  const totals = [...output.matchAll(/start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/g)].at(-1);
  const lost = /Total lost packets (\d+)/.exec(output)?.[1];
  return {
    code,
    sent: Number(totals?.[1] ?? 0),
    received: Number(totals?.[2] ?? 0),
    lost: lost === undefined ? undefined : Number(lost),
    output,
  };
}

/** Starts `turnutils_peer`, which sends back what it gets, on a free port of `address`. */
export async function startEchoPeer(address: string): Promise<{ readonly port: number; readonly child: Child }> {
  const port = await freeUdpPort([address]);
  const child = startChild({ command: "turnutils_peer", args: ["-L", address, "-p", String(port), "-v"] });
  return { port, child };
}

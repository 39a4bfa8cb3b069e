import {
  bench,
  benchReportJson,
  formatBenchProgress,
  formatBenchReport,
  type BenchOptions,
  type BenchReport,
} from "@turnpike/client";
import { Option, type Command } from "commander";
import { CommandError } from "../errors.ts";
import { usesColors, type World } from "../world.ts";
import { addClientFlags, credentialsOf, number, trustOf, untilStopped, type ClientFlags } from "./client-options.ts";

type BenchFlags = ClientFlags & Pick<BenchOptions, "flows" | "size" | "rate" | "seconds" | "transport" | "allocate">;

/** Gives `turnpike bench` its flags and what it does. */
export function defineBenchCommand(command: Command, world: World): void {
  addClientFlags(command)
    .addOption(new Option("--flows <N>", "pairs of allocations that send to each other").argParser(number).default(1))
    .addOption(new Option("--size <BYTES>", "payload of a datagram").argParser(number).default(160))
    .addOption(new Option("--rate <N>", "datagrams a second and flow").argParser(number).default(50))
    .addOption(new Option("--seconds <N>", "how long to send").argParser(number).default(10))
    .addOption(
      new Option("--transport <NAME>", "goes before what the URI says").choices([
        "udp",
        "tcp",
        "tls",
        "dtls",
        "ws",
        "wss",
      ]),
    )
    .option("--allocate", "measure allocations a second in place of traffic; --flows are made at a time")
    .action(async (uris: readonly string[]) => {
      const flags = command.opts<BenchFlags>();
      const reports: BenchReport[] = [];
      for (const uri of uris) reports.push(await untilStopped(world, (signal) => runOne(uri, flags, world, signal)));
      const color = usesColors(world, world.isOutTerminal);
      world.out(
        flags.json === true
          ? benchReportJson(reports)
          : reports.map((report) => formatBenchReport(report, { color })).join("\n"),
      );
      const isIdle = reports.some((report) => (report.kind === "traffic" ? report.received : report.allocated) === 0);
      if (isIdle) throw new CommandError("nothing came back", { exitCode: 1 });
    });
}

async function runOne(uri: string, flags: BenchFlags, world: World, signal: AbortSignal): Promise<BenchReport> {
  const { flows, size, rate, seconds, transport, allocate } = flags;
  try {
    return await bench(uri, {
      ...credentialsOf(flags, world),
      tls: trustOf(flags, world),
      ...(flows === undefined ? {} : { flows }),
      ...(size === undefined ? {} : { size }),
      ...(rate === undefined ? {} : { rate }),
      ...(seconds === undefined ? {} : { seconds }),
      ...(transport === undefined ? {} : { transport }),
      ...(allocate === undefined ? {} : { allocate }),
      signal,
      onProgress: (progress) => {
        if (world.isErrTerminal) world.err(`\r\u001b[K${formatBenchProgress(progress)}`);
      },
    });
  } finally {
    if (world.isErrTerminal) world.err("\r\u001b[K");
  }
}

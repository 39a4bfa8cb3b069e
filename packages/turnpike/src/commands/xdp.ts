import { askRelay } from "@turnpike/relay/control";
import type { Command } from "commander";
import { CommandError } from "../errors.ts";
import type { World } from "../world.ts";
import { guarded, socketOf } from "./control-options.ts";
import { kernelStatusOf, kernelTables } from "./xdp-tables.ts";

/** Gives `turnpike xdp` its flags and what it does. */
export function defineXdpCommand(xdp: Command, world: World): void {
  xdp
    .command("status")
    .description("show programs, maps, hits and misses; exit code 1 if a program was taken off its interface")
    .option("--socket <PATH>", "the relay's control socket (default: turnpike.sock in XDG_RUNTIME_DIR)")
    .option("--json", "print JSON for programs")
    .action(async ({ socket, json }: { readonly socket?: string; readonly json?: boolean }) => {
      const command = "xdp status";
      const path = socketOf({ command, socket, world });
      const stats = await guarded(command, () => askRelay(path, { method: "GET", path: "/v1/stats" }));
      const status = kernelStatusOf(stats);
      if (status === undefined) {
        throw new CommandError(
          `${command}: this relay relays nothing in the kernel: start it with --plane kernel --interface NAME`,
          { exitCode: 1 },
        );
      }
      world.out(json === true ? `${JSON.stringify(status)}\n` : kernelTables(status));
      const lost = status.interfaces.filter(({ attached }) => !attached).map(({ name }) => name);
      if (lost.length > 0) {
        throw new CommandError(
          `${command}: the program was taken off ${lost.join(", ")}: packets go through the sockets; restart the relay`,
          { exitCode: 1 },
        );
      }
    });
}

import { askRelay, type ControlRequest, followRelay } from "@turnpike/relay/control";
import { RELAY_EVENT_TYPES } from "@turnpike/relay/settings";
import { type Command, InvalidArgumentError } from "commander";
import { CommandError } from "../errors.ts";
import type { World } from "../world.ts";
import { guarded, socketOf } from "./control-options.ts";
import { allocationTable, banTable } from "./ctl-tables.ts";

/** Gives `turnpike ctl` its flags and what it does. */
export function defineCtlCommand(ctl: Command, world: World): void {
  ctl
    .option("--socket <PATH>", "the relay's control socket (default: turnpike.sock in XDG_RUNTIME_DIR)")
    .option("--json", "print JSON for programs");
  const socket = (): string =>
    socketOf({ command: "ctl", socket: ctl.opts<{ readonly socket?: string }>().socket, world });
  const ask = async (request: ControlRequest): Promise<unknown> => guarded("ctl", () => askRelay(socket(), request));
  const isJson = (): boolean => ctl.opts<{ readonly json?: boolean }>().json === true;
  const print = (answer: unknown, text: string): void => {
    world.out(isJson() ? `${JSON.stringify(answer)}\n` : text);
  };

  ctl
    .command("allocations")
    .description("list living allocations with their traffic")
    .option("--user <NAME>", "only of this user")
    .action(async ({ user }: { readonly user?: string }) => {
      const answer = await ask({ method: "GET", path: "/v1/allocations", query: { user } });
      print(answer, allocationTable(answer));
    });
  ctl
    .command("kill")
    .description("end an allocation")
    .argument("<ID>", "as `turnpike ctl allocations` shows it")
    .action(async (id: string) => {
      const answer = await ask({ method: "DELETE", path: `/v1/allocations/${encodeURIComponent(id)}` });
      print(answer, `Ended ${id}\n`);
    });
  ctl
    .command("kill-user")
    .description("end all allocations of a user")
    .argument("<NAME>", "the user, without the time stamp of a time-limited name")
    .action(async (name: string) => {
      const answer = await ask({ method: "DELETE", path: `/v1/users/${encodeURIComponent(name)}/allocations` });
      print(answer, `Ended ${endedOf(answer)}\n`);
    });
  addBanCommand({ ctl, ask, print });
  ctl
    .command("drain")
    .description("refuse new allocations; the relay goes on for those that live")
    .action(async () => {
      const answer = await ask({ method: "POST", path: "/v1/drain" });
      print(answer, "Draining: new allocations are refused\n");
    });
  ctl
    .command("events")
    .description("follow events, one JSON object a line")
    .option("--type <TYPE>", "only of this type; repeatable", collect)
    .option("--user <NAME>", "only of this user")
    .addHelpText("after", `\nTypes: ${RELAY_EVENT_TYPES.join(", ")}`)
    .action(async ({ type, user }: { readonly type?: readonly string[]; readonly user?: string }) => {
      const ended = new AbortController();
      const unlisten = world.onStopSignal(() => ended.abort());
      const query = { type, user };
      const request = { method: "GET", path: "/v1/events", query, signal: ended.signal } as const;
      await guarded("ctl", async () => {
        for await (const event of followRelay(socket(), request)) world.out(`${JSON.stringify(event)}\n`);
      }).finally(unlisten);
    });
}

interface Parts {
  readonly ctl: Command;
  readonly ask: (request: ControlRequest) => Promise<unknown>;
  readonly print: (answer: unknown, text: string) => void;
}

function addBanCommand({ ctl, ask, print }: Parts): void {
  ctl
    .command("ban")
    .description("shut a user or a network out, or list and lift bans; living allocations end")
    .argument("[ADDRESS]", "an IP address; it stands for its /32 (IPv4) or /64 (IPv6)")
    .option("--user <NAME>", "a user in place of an address")
    .option("--seconds <N>", "how long", parseSeconds, 3600)
    .option("--reason <TEXT>", "for those who look at the list")
    .option("--lift", "let in again")
    .option("--list", "list the bans that stand")
    .action(
      async (
        address: string | undefined,
        options: {
          readonly user?: string;
          readonly seconds: number;
          readonly reason?: string;
          readonly lift?: boolean;
          readonly list?: boolean;
        },
      ) => {
        const { user, seconds, reason } = options;
        if (options.list === true) {
          const answer = await ask({ method: "GET", path: "/v1/bans" });
          print(answer, banTable(answer));
          return;
        }
        const whom = user ?? address;
        if (whom === undefined || (user !== undefined && address !== undefined)) {
          throw new CommandError("ctl ban: name either an ADDRESS or --user NAME, or ask for --list", { exitCode: 2 });
        }
        if (options.lift === true) {
          print(
            await ask({ method: "DELETE", path: "/v1/bans", query: { user, address } }),
            `Lifted the ban of ${whom}\n`,
          );
          return;
        }
        const answer = await ask({ method: "POST", path: "/v1/bans", body: { user, address, seconds, reason } });
        print(answer, `Banned ${whom} for ${seconds} s, ended ${endedOf(answer)}\n`);
      },
    );
}

function collect(text: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, text];
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds > 0)) throw new InvalidArgumentError("It must be a number above 0.");
  return seconds;
}

function endedOf(answer: unknown): string {
  const ended = typeof answer === "object" && answer !== null && "ended" in answer ? Number(answer.ended) : 0;
  return ended === 1 ? "1 allocation" : `${ended} allocations`;
}

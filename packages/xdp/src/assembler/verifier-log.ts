import type { Assembled } from "./assemble.ts";
import { disassemble, formatLine } from "./disassemble.ts";
import { slotsOf } from "./instruction.ts";

const LAST_LINES = 24;

/**
 * The end of the kernel verifier's log, where it says what it refuses, with each instruction named by label and
 * distance, in the assembler's words.
 */
export function explainVerifierLog(log: string, assembled: Assembled): string {
  const names = namesOf(assembled);
  return log
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("processed "))
    .slice(-LAST_LINES)
    .map((line) => {
      const slot = /^(\d+): \(/.exec(line)?.[1];
      const name = slot === undefined ? undefined : names.get(Number(slot));
      return name === undefined ? line : `${line}\t<- ${name}`;
    })
    .join("\n");
}

/** `parse+3: load2 r1, [r2+12]` for each slot. */
function namesOf({ code, labels }: Assembled): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  let slot = 0;
  let label = "start";
  let labelSlot = 0;
  for (const line of disassemble(code, labels)) {
    if (line.kind === "label") {
      label = line.name;
      labelSlot = slot;
    } else {
      names.set(slot, `${label}+${slot - labelSlot}: ${formatLine(line)}`);
      slot += slotsOf(line);
    }
  }
  return names;
}

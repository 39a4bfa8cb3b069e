/** One message of Tor's control port (control-spec §2.3): a reply to a command, or an asynchronous event (6xx). */
export interface ControlMessage {
  /** Three digits; 2xx is success, 6xx an event. */
  readonly status: number;
  /** The text of each line after its status and separator; a data block follows its line, joined by newlines. */
  readonly lines: readonly string[];
}

/** Longest line, and longest message, that is read, in characters. */
const maximumControlLength = 1_048_576;

/** Splits what a control port sends into messages. Feed it chunks as they come. */
export class ControlParser {
  #pending = "";
  #length = 0;
  #lines: string[] = [];
  #inData = false;

  /** The messages that a chunk completes, or what is wrong with it; after an error nothing more can be read. */
  push(chunk: string): readonly ControlMessage[] | { readonly error: string } {
    this.#pending += chunk;
    const messages: ControlMessage[] = [];
    for (;;) {
      const end = this.#pending.indexOf("\n");
      if (end < 0) break;
      const line = this.#pending.slice(0, this.#pending[end - 1] === "\r" ? end - 1 : end);
      this.#pending = this.#pending.slice(end + 1);
      this.#length += line.length;
      if (this.#length > maximumControlLength) return { error: "a message of the control port is too long" };
      const done = this.#line(line);
      if (typeof done === "string") return { error: done };
      if (done !== undefined) messages.push(done);
    }
    if (this.#pending.length > maximumControlLength) return { error: "a line of the control port is too long" };
    return messages;
  }

  #line(line: string): ControlMessage | string | undefined {
    if (this.#inData) {
      if (line === ".") this.#inData = false;
      else this.#lines[this.#lines.length - 1] += `\n${line.startsWith(".") ? line.slice(1) : line}`;
      return undefined;
    }
    const status = Number(line.slice(0, 3));
    const separator = line[3];
    if (!/^[1-6]\d\d$/u.test(line.slice(0, 3)) || separator === undefined || !" -+".includes(separator)) {
      return "this is not the control port of Tor";
    }
    this.#lines.push(line.slice(4));
    if (separator === "+") this.#inData = true;
    if (separator !== " ") return undefined;
    const message = { status, lines: this.#lines };
    this.#lines = [];
    this.#length = 0;
    return message;
  }
}

/** Reads `KEY=value` and `KEY="quoted value"` pairs from a line (control-spec §2.1.1); other words are left out. */
export function parseKeywords(line: string): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let index = 0;
  while (index < line.length) {
    const space = line.indexOf(" ", index);
    const equals = line.indexOf("=", index);
    if (equals < 0) break;
    if (space >= 0 && space < equals) {
      index = space + 1;
      continue;
    }
    const key = line.slice(index, equals);
    const [value, end] = readValue(line, equals + 1);
    found.set(key, value);
    index = end + 1;
  }
  return found;
}

/** Writes a QuotedString (control-spec §2.1.1). */
export function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function readValue(line: string, start: number): readonly [string, number] {
  if (line[start] !== '"') {
    const end = line.indexOf(" ", start);
    return end < 0 ? [line.slice(start), line.length] : [line.slice(start, end), end];
  }
  let value = "";
  let index = start + 1;
  while (index < line.length && line[index] !== '"') {
    if (line[index] === "\\") index += 1;
    value += line[index] ?? "";
    index += 1;
  }
  return [value, index + 1];
}

// Takes an XDP program off its interface, as `bpftool link detach` does: `xdp-detach-process.ts PROGRAM_ID`.
import { loadSystem } from "@turnpike/xdp";

const COMMAND = { objectInfo: 15, linkById: 30, nextLink: 31, detach: 34 } as const;

const wanted = Number(process.argv[2]);
const system = loadSystem();
const attributes = new Uint8Array(new ArrayBuffer(128));
const view = new DataView(attributes.buffer);
const info = new Uint8Array(new ArrayBuffer(128));

/** Calls bpf(2) with 32-bit words at the front of its attributes. */
function call(command: number, ...words: readonly number[]): number {
  attributes.fill(0);
  for (const [index, word] of words.entries()) view.setUint32(index * 4, word, true);
  if (command === COMMAND.objectInfo) view.setBigUint64(8, system.addressOf(info), true);
  return system.bpf(command, attributes);
}

for (let link = 0; call(COMMAND.nextLink, link) >= 0;) {
  link = view.getUint32(4, true);
  const descriptor = call(COMMAND.linkById, link);
  if (descriptor < 0) continue;
  call(COMMAND.objectInfo, descriptor, info.length);
  // `struct bpf_link_info`: type, link, program.
  if (new DataView(info.buffer).getUint32(8, true) === wanted) {
    if (call(COMMAND.detach, descriptor) < 0) throw new Error(`Cannot detach: error ${system.errno()}`);
    console.log("detached");
    process.exit(0);
  }
  system.close(descriptor);
}
throw new Error(`No link has the program ${wanted}`);

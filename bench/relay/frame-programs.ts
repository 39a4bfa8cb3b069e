import { type Assembled, assemble, ProgramBuilder, type Struct, struct, XDP } from "@turnpike/xdp";

/** What generator and programs share: one entry of a mapped array. */
export const tally: Struct<"sent" | "received" | "forgiven" | "window" | "seen" | "seenAtNs"> = struct({
  sent: 8,
  received: 8,
  /** Packets that will not come any more. */
  forgiven: 8,
  /** How many packets may be under way. */
  window: 8,
  /** What had been received when last something was found to have been, and when that was. */
  seen: 8,
  seenAtNs: 8,
});

/** If nothing has come for so long, what is under way is lost. */
const STALL_NS = 20_000_000;

/** So many first bytes of a frame differ from flow to flow: Ethernet, IPv4, UDP and ChannelData headers, and two more. */
export const TEMPLATE = 48;

const HELPER = { mapLookup: 1, ktimeGetNs: 5, redirect: 23 } as const;
const u16 = (offset: number): { offset: number; size: number } => ({ offset, size: 2 });
const u32 = (offset: number): { offset: number; size: number } => ({ offset, size: 4 });
const u64 = (offset: number): { offset: number; size: number } => ({ offset, size: 8 });
const DATA = u32(0);
const DATA_END = u32(4);
const INDEX = u32(-4);
const [ETHERNET, IPV4] = [14, 20];

/** r0: the entry whose index stands in the frame. */
function lookUp(b: ProgramBuilder, map: number): void {
  b.loadMap("r1", map);
  b.move("r2", "r10");
  b.add("r2", INDEX.offset);
  b.call(HELPER.mapLookup);
  b.jumpIf("r0", "equal", 0, "drop");
}

function endings(b: ProgramBuilder): Assembled {
  b.label("drop");
  b.move("r0", XDP.drop);
  b.exit();
  return assemble(b.lines);
}

/** Makes each packet the next flow's and sends it, as long as the window allows it. `flows` is a power of two. */
export function senderProgram(options: {
  readonly tally: number;
  readonly templates: number;
  readonly flows: number;
  readonly interfaceIndex: number;
}): Assembled {
  const b = new ProgramBuilder();
  b.move("r6", "r1");
  b.store("r10", INDEX, 0);
  lookUp(b, options.tally);
  b.move("r7", "r0");
  b.load("r1", "r0", tally.field.sent);
  b.move("r2", "r1");
  for (const name of ["received", "forgiven"] as const) {
    b.load("r3", "r0", tally.field[name]);
    b.subtract("r2", "r3");
  }
  b.load("r3", "r0", tally.field.window);
  b.jumpIf("r2", "aboveOrEqual", "r3", "wait");
  b.move("r2", "r1");
  b.and("r2", options.flows - 1);
  b.store("r10", INDEX, "r2");
  b.add("r1", 1);
  b.store("r0", tally.field.sent, "r1");
  lookUp(b, options.templates);
  b.load("r2", "r6", DATA);
  b.load("r3", "r6", DATA_END);
  b.move("r4", "r2");
  b.add("r4", TEMPLATE);
  b.jumpIf("r4", "above", "r3", "drop");
  for (let at = 0; at < TEMPLATE; at += 8) {
    b.load("r1", "r0", u64(at));
    b.store("r2", u64(at), "r1");
  }
  b.move("r1", options.interfaceIndex);
  b.move("r2", 0);
  b.call(HELPER.redirect);
  b.exit();
  forgive(b);
  return endings(b);
}

/** The window is full. r7: the tally. */
function forgive(b: ProgramBuilder): void {
  b.label("wait");
  b.call(HELPER.ktimeGetNs);
  b.load("r1", "r7", tally.field.received);
  b.load("r2", "r7", tally.field.seen);
  b.jumpIf("r1", "equal", "r2", "still");
  b.store("r7", tally.field.seen, "r1");
  b.store("r7", tally.field.seenAtNs, "r0");
  b.goto("drop");
  b.label("still");
  b.move("r3", "r0");
  b.load("r2", "r7", tally.field.seenAtNs);
  b.subtract("r3", "r2");
  b.jumpIf("r3", "below", STALL_NS, "drop");
  b.store("r7", tally.field.seenAtNs, "r0");
  b.load("r2", "r7", tally.field.sent);
  b.subtract("r2", "r1");
  b.store("r7", tally.field.forgiven, "r2");
}

/** Counts and drops what the relay sent of the load; lets all else pass. Numbers as they stand on the wire. */
export function sinkProgram(options: {
  readonly tally: number;
  /** IPv4 address of the relay. */
  readonly source: Uint8Array;
  /** Of the IPv4 packet. */
  readonly length: number;
  /** One of its ports, and where it stands in the UDP header. */
  readonly port: number;
  readonly portAt: 0 | 2;
}): Assembled {
  const b = new ProgramBuilder();
  const swapped = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
  b.load("r2", "r1", DATA);
  b.load("r3", "r1", DATA_END);
  b.move("r4", "r2");
  b.add("r4", ETHERNET + IPV4 + 8);
  b.jumpIf("r4", "above", "r3", "pass");
  b.load("r4", "r2", u16(12));
  b.jumpIf("r4", "notEqual", swapped(0x0800), "pass");
  b.load("r4", "r2", u16(ETHERNET + 2));
  b.jumpIf("r4", "notEqual", swapped(options.length), "pass");
  b.load("r4", "r2", { offset: ETHERNET + 9, size: 1 });
  b.jumpIf("r4", "notEqual", 17, "pass");
  b.load("r4", "r2", u32(ETHERNET + 12));
  const source = new DataView(options.source.buffer, options.source.byteOffset).getInt32(0, true);
  b.jumpIf("r4", "notEqual", source, "pass", 32);
  b.load("r4", "r2", u16(ETHERNET + IPV4 + options.portAt));
  b.jumpIf("r4", "notEqual", swapped(options.port), "pass");
  b.store("r10", INDEX, 0);
  lookUp(b, options.tally);
  b.move("r1", 1);
  b.atomicAdd("r0", tally.field.received, "r1");
  b.goto("drop");
  b.label("pass");
  b.move("r0", XDP.pass);
  b.exit();
  return endings(b);
}

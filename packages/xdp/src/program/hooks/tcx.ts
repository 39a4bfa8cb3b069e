import type { ProgramBuilder } from "../../assembler/builder.ts";
import type { Register } from "../../assembler/instruction.ts";
import { TCX } from "../../kernel/bpf.ts";
import {
  CHANNEL_HEADER,
  CONTEXT,
  ETHERNET,
  FRAME,
  HELPER,
  IPV6,
  local,
  lookUp,
  ROUTE,
  TTL,
  TYPE_IPV4,
  TYPE_IPV6,
  u32,
  UDP_HEADER,
} from "../frame.ts";
import { route, ROUTE_FLAG, scratch } from "../layout.ts";
import { foldInto } from "../steps/checksum.ts";
import type { Hook } from "./hook.ts";

const TCX_HELPER = {
  storeBytes: 9,
  replaceChecksum: 11,
  loadBytes: 26,
  changeProtocol: 31,
  changeTail: 38,
  pullData: 39,
  updateSum: 40,
} as const;

/** `struct __sk_buff`. */
const context = {
  length: u32(0),
  vlanPresent: u32(20),
  data: u32(76),
  dataEnd: u32(80),
  segmentSize: u32(176),
} as const;

const F_PSEUDO_HEADER = 1 << 4;
const F_MANGLED_ZERO = 1 << 5;
/** All headers that the program reads. */
const HEADERS = ETHERNET + IPV6 + UDP_HEADER + CHANNEL_HEADER;
/** Where the checksum stands in the UDP header. */
const CHECKSUM = 6;

/**
 * TCX: the kernel's own buffer, behind the taps. What was left to a card (the checksum) is said nowhere, but kept by
 * helpers: the UDP header stays where the card would look for it, and the payload moves instead. Bytes are read in place
 * and written by helpers, as the kernel copies every buffer that it shares before a program that writes in place.
 *
 * @param map Descriptor of the {@link scratch} map.
 */
export function tcxHook(map: number): Hook {
  return {
    verdict: { pass: TCX.next, abort: TCX.drop },
    openFrame,
    takeSum(b) {
      // The difference alone: what it is added to is for the kernel to know.
      b.store(FRAME, local("sum"), 0);
    },
    makeRoom(b) {
      takePayload(b, map);
      resizeFrame(b);
      b.load("r2", FRAME, local("scratch"));
    },
    checkRoom() {},
    loadChecksum(b) {
      b.load("r1", FRAME, local("checksum"));
      b.toBigEndian(16, "r1");
    },
    finish(b) {
      putFrame(b);
      replaceChecksum(b);
    },
    send(b) {
      b.move("r2", 0);
      b.call(HELPER.redirect);
    },
  };
}

function openFrame(b: ProgramBuilder): void {
  const opened = b.fresh("openFrame");
  const short = b.fresh("openFrame");
  b.load("r4", CONTEXT, context.vlanPresent);
  b.jumpIf("r4", "notEqual", 0, "pass");
  // Several packets in one buffer.
  b.load("r4", CONTEXT, context.segmentSize);
  b.jumpIf("r4", "notEqual", 0, "pass");
  b.load("r4", CONTEXT, context.length);
  b.store(FRAME, local("frameLength"), "r4");
  loadFrame(b);
  b.move("r5", "r2");
  b.add("r5", HEADERS);
  b.jumpIf("r5", "belowOrEqual", "r3", opened);
  b.move("r2", "r4");
  b.jumpIf("r2", "belowOrEqual", HEADERS, short);
  b.move("r2", HEADERS);
  b.label(short);
  helper(b, "pullData", "pass");
  loadFrame(b);
  b.label(opened);
}

/** The payload goes to the scratch memory, `scratch` and `payloadLength` are set. */
function takePayload(b: ProgramBuilder, map: number): void {
  const empty = b.fresh("takePayload");
  b.store(FRAME, local("index"), 0);
  lookUp(b, map, local("index"));
  b.jumpIf("r0", "equal", 0, "passNoHeadroom");
  b.store(FRAME, local("scratch"), "r0");
  b.load("r4", FRAME, local("udpLength"));
  b.subtract("r4", UDP_HEADER);
  b.load("r1", ROUTE, route.field.channel);
  const bare = b.fresh("takePayload");
  b.jumpIf("r1", "equal", 0, bare);
  b.subtract("r4", CHANNEL_HEADER);
  b.label(bare);
  b.store(FRAME, local("payloadLength"), "r4");
  b.jumpIf("r4", "below", 1, empty);
  b.jumpIf("r4", "above", scratch.field.payload.size, "passTooLarge");
  b.load("r2", FRAME, local("frameLength"));
  b.subtract("r2", "r4");
  b.move("r3", "r0");
  b.add("r3", scratch.field.payload.offset);
  helper(b, "loadBytes", "passNoHeadroom");
  b.label(empty);
}

/**
 * The frame gets its length. What can fail comes before what can't be undone: growing at the end, which trimming undoes,
 * and the change of IP version, which moves the link header alone. Behind it the buffer is nobody else's and in one
 * piece, and trimming can't fail.
 */
function resizeFrame(b: ProgramBuilder): void {
  const [grow, grown, trim, done] = [b.fresh("grow"), b.fresh("grown"), b.fresh("trim"), b.fresh("resized")];
  const changed = b.fresh("changed");
  const undo = b.fresh("undo");
  b.load("r1", FRAME, local("udpGrowth"));
  b.jumpIf("r1", "equal", CHANNEL_HEADER, grow);
  // A card's sum of the whole packet would be wrong. Growing has the kernel forget it; only of such a sum is there an
  // answer of 32 bits.
  b.move("r1", CONTEXT);
  b.move("r2", 0);
  b.call(TCX_HELPER.updateSum);
  b.shiftRight("r0", 32);
  b.jumpIf("r0", "notEqual", 0, grown);
  b.label(grow);
  b.load("r2", FRAME, local("frameLength"));
  b.add("r2", CHANNEL_HEADER);
  b.move("r3", 0);
  helper(b, "changeTail", "passNoHeadroom");
  b.label(grown);
  b.load("r1", FRAME, local("ipGrowth"));
  b.jumpIf("r1", "equal", 0, trim);
  b.load("r2", FRAME, local("frameLength"));
  helper(b, "pullData", undo);
  b.move("r2", TYPE_IPV6);
  b.load("r1", ROUTE, route.field.flags);
  b.and("r1", ROUTE_FLAG.ipv6);
  b.jumpIf("r1", "notEqual", 0, changed);
  b.move("r2", TYPE_IPV4);
  b.label(changed);
  b.move("r3", 0);
  helper(b, "changeProtocol", undo);
  b.label(trim);
  b.load("r1", FRAME, local("udpGrowth"));
  b.jumpIf("r1", "equal", CHANNEL_HEADER, done);
  loadNewLength(b, "r2");
  b.move("r3", 0);
  helper(b, "changeTail", "passNoHeadroom");
  b.goto(done);
  b.label(undo);
  b.load("r2", FRAME, local("frameLength"));
  b.move("r3", 0);
  helper(b, "changeTail", "passNoHeadroom");
  b.goto("passNoHeadroom");
  b.label(done);
}

/** Writes headers and payload. */
function putFrame(b: ProgramBuilder): void {
  const { headers, payload } = scratch.field;
  loadNewLength(b, "r4");
  b.load("r1", FRAME, local("payloadLength"));
  b.subtract("r4", "r1");
  // As it always is: the verifier wants to see it.
  b.jumpIf("r4", "below", 1, "abort");
  b.jumpIf("r4", "above", headers.size, "abort");
  b.move("r2", 0);
  b.load("r3", FRAME, local("scratch"));
  b.move("r5", 0);
  helper(b, "storeBytes", "abort");
  const empty = b.fresh("putFrame");
  b.load("r4", FRAME, local("payloadLength"));
  b.jumpIf("r4", "below", 1, empty);
  b.jumpIf("r4", "above", payload.size, "abort");
  loadNewLength(b, "r2");
  b.subtract("r2", "r4");
  b.load("r3", FRAME, local("scratch"));
  b.add("r3", payload.offset);
  b.move("r5", 0);
  helper(b, "storeBytes", "abort");
  b.label(empty);
}

/**
 * The field holds the checksum that came. The kernel knows whether that is finished: then all that has changed counts,
 * else the pseudo-header alone, as the card will sum the rest.
 */
function replaceChecksum(b: ProgramBuilder): void {
  // r4: by how much the pseudo-header's sum grew.
  b.load("r4", ROUTE, route.field.headerSum);
  b.subtract("r4", 0x4500 + (TTL << 8));
  b.load("r1", FRAME, local("udpLength"));
  b.add("r4", "r1");
  b.load("r1", FRAME, local("pseudoSum"));
  b.xor("r1", 0xffff);
  b.add("r4", "r1");
  foldInto(b, "r4", "r1", 3);
  b.store(FRAME, local("pseudoSum"), "r4");
  b.xor("r4", 0xffff);
  b.load("r1", FRAME, local("sum"));
  b.add("r4", "r1");
  foldInto(b, "r4", "r1", 3);
  replaceBy(b, F_MANGLED_ZERO);
  b.load("r4", FRAME, local("pseudoSum"));
  replaceBy(b, F_MANGLED_ZERO | F_PSEUDO_HEADER);
}

/** r4: what the sum grows by. */
function replaceBy(b: ProgramBuilder, flags: number): void {
  b.toBigEndian(16, "r4");
  loadNewLength(b, "r2");
  b.load("r1", FRAME, local("udpLength"));
  b.subtract("r2", "r1");
  b.add("r2", CHECKSUM);
  b.move("r3", 0);
  b.move("r5", flags);
  helper(b, "replaceChecksum", "abort");
}

/** Calls a helper on the packet: r2–r5 are its other arguments. */
function helper(b: ProgramBuilder, name: keyof typeof TCX_HELPER, failed: string): void {
  b.move("r1", CONTEXT);
  b.call(TCX_HELPER[name]);
  b.jumpIf("r0", "notEqual", 0, failed);
}

/** Of the frame that leaves. r1 is scratch. */
function loadNewLength(b: ProgramBuilder, to: Register): void {
  b.load(to, FRAME, local("frameLength"));
  for (const growth of ["ipGrowth", "udpGrowth"] as const) {
    b.load("r1", FRAME, local(growth));
    b.add(to, "r1");
  }
}

function loadFrame(b: ProgramBuilder): void {
  b.load("r2", CONTEXT, context.data);
  b.load("r3", CONTEXT, context.dataEnd);
}

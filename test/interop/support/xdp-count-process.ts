// How many TCX programs an interface has: `xdp-count-process.ts INTERFACE`, as `bpftool net` tells it.
import { loadSystem, Netlink } from "@turnpike/xdp";

const PROGRAM_QUERY = 16;
const TCX_INGRESS = 46;

const [name = ""] = process.argv.slice(2);
const system = loadSystem();
const link = new Netlink(system).link(name);
if (link === undefined) throw new Error(`There is no interface ${name}`);
const attributes = new Uint8Array(new ArrayBuffer(128));
const view = new DataView(attributes.buffer);
view.setUint32(0, link.index, true);
view.setUint32(4, TCX_INGRESS, true);
if (system.bpf(PROGRAM_QUERY, attributes) < 0) throw new Error(`Cannot ask: error ${system.errno()}`);
console.log(view.getUint32(24, true));

// Counts the packets of an interface and lets every one pass: `xdp-pass-process.ts INTERFACE [MODE]`, MODE native or tcx.
// The other end of a veth pair sends by XDP only to one that has a program too. Says `ready`, then tells ten times a
// second how many have come.
import { BpfMap, loadSystem, Netlink, Program, ProgramBuilder, assemble, TCX, XDP, XdpLink } from "@turnpike/xdp";

const [name, wanted] = process.argv.slice(2);
const mode = wanted === "tcx" ? "tcx" : "native";
const hook = mode === "tcx" ? "tcx" : "xdp";
const system = loadSystem();
const link = new Netlink(system).link(name ?? "");
if (name === undefined || link === undefined) throw new Error(`There is no interface ${name}`);
const map = new BpfMap(system, { kind: "array", name: "seen", keySize: 4, valueSize: 8, entries: 1, mapped: true });
const seen = new BigUint64Array(map.memory());
const b = new ProgramBuilder();
const index = { offset: -4, size: 4 };
b.store("r10", index, 0);
b.loadMap("r1", map.descriptor);
b.move("r2", "r10");
b.add("r2", index.offset);
b.call(1);
b.jumpIf("r0", "equal", 0, "pass");
b.move("r1", 1);
b.atomicAdd("r0", { offset: 0, size: 8 }, "r1");
b.label("pass");
b.move("r0", mode === "tcx" ? TCX.next : XDP.pass);
b.exit();
const program = new Program(system, { name: "pass", hook, assembled: assemble(b.lines) });
const attached = new XdpLink(system, { program, interface: name, interfaceIndex: link.index, modes: [mode] });
console.log("ready");
setInterval(() => {
  if (!attached.isAttached()) throw new Error("The program is gone");
  console.log(String(seen[0]));
}, 100);

// Lets every packet of an interface pass through XDP: the other end of a veth pair sends by XDP only to one that has a
// program too. `xdp-pass-process.ts INTERFACE`; says `ready`.
import { assemble, loadSystem, Netlink, Program, XDP, XdpLink } from "@turnpike/xdp";

const [name = ""] = process.argv.slice(2);
const system = loadSystem();
const link = new Netlink(system).link(name);
if (link === undefined) throw new Error(`There is no interface ${name}`);
const assembled = assemble([
  { kind: "arithmetic", operation: "move", bits: 64, to: "r0", by: XDP.pass },
  { kind: "exit" },
]);
const program = new Program(system, { name: "pass", assembled });
const attached = new XdpLink(system, { program, interface: name, interfaceIndex: link.index, modes: ["native"] });
console.log("ready");
setInterval(() => {
  if (!attached.isAttached()) throw new Error("The program is gone");
}, 1000);

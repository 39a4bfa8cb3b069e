// Tries hints, one after the other, with or without leave to reveal the address; says on standard output what became of each.
import { Connector } from "@turnpike/hints";

const [mode, socksPort, ...hints] = process.argv.slice(2);
const hidden = mode === "hidden";
const connector = new Connector({
  policy: hidden ? { revealIpAddress: false } : { privateAddresses: "literal" },
  tcp: hidden ? "tor" : "tcp",
  tor: { socks: { kind: "tcp", address: "127.0.0.1", port: Number(socksPort) } },
});
for (const hint of hints) {
  try {
    const { stream } = await connector.connect({ hints: [hint] });
    stream.destroy();
    console.log(JSON.stringify([hint, "connected"]));
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    console.log(JSON.stringify([hint, cause instanceof Error ? cause.message : "failed"]));
  }
}
await connector.close();

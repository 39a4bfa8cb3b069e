import { hintHandlerContract } from "./hint-handler-contract.ts";

const badHosts = ["", "a.example", "a.example:", "a.example:0", "a b:1", "127.1:80", "a.example:80:x=y", "[::1]"];
const proxy = { kind: "tcp", address: "127.0.0.1", port: 1080 } as const;
const onion = "2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion";

hintHandlerContract({
  type: "tcp",
  hint: "tcp:8.8.8.8:80",
  malformed: [...badHosts, `${onion}:80`],
  negotiates: false,
});
hintHandlerContract({ type: "tls", hint: "tls:8.8.8.8:443", malformed: badHosts, negotiates: true });
hintHandlerContract({
  type: "ws",
  hint: "ws:8.8.8.8:80/x",
  malformed: [...badHosts, "a.example:1/#"],
  negotiates: true,
});
hintHandlerContract({ type: "wss", hint: "wss:8.8.8.8:443", malformed: badHosts, negotiates: true });
hintHandlerContract({
  type: "unix",
  hint: "unix:/run/x",
  malformed: ["", "relative", "/a/../b", "/", `/${"x".repeat(200)}`],
  negotiates: false,
});
hintHandlerContract({
  type: "socks",
  hint: "socks:a.example:80",
  malformed: badHosts,
  negotiates: true,
  options: { socksProxy: { target: proxy } },
});
hintHandlerContract({
  type: "tor",
  hint: "tor:a.example:80",
  malformed: [...badHosts, "abc.onion:80", `${onion.replace("2", "3")}:80`],
  negotiates: true,
  options: { tor: { socks: { kind: "tcp", address: "127.0.0.1", port: 9050 } } },
});

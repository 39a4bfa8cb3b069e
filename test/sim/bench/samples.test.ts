import { expect, test } from "vitest";
import { partOf, readSamples } from "../../../bench/relay/samples.ts";

const SCRIPT = `node-MainThread 23569 31366.000000005: 
	ffffffff82041c42 raw_local_deliver ([kernel.kallsyms])
	ffffffff81e695bb net_rx_action ([kernel.kallsyms])
	ffffffff81e31e7b __sys_sendmsg ([kernel.kallsyms])
	          10ac4d __libc_sendmsg (/usr/lib/x86_64-linux-gnu/libc.so.6)

reactor 0 23570 31367.250000000: 
	    7f8a3a292721 JS:*'channelData file:///home/x/packages/turn/src/server/data-path.ts:60:14 (/tmp/perf-23569.map)
	    7f8a3a28c78b JS:*'sendToPeer file:///home/x/packages/relay/src/plane.ts:1:1 (/tmp/perf-23569.map)
`;

test("frames of samples are read from the inside out", () => {
  const samples = readSamples(SCRIPT);
  expect(samples.map(({ frames }) => frames.length)).toEqual([4, 2]);
  expect(samples.map(({ atNs }) => atNs)).toEqual([31_366_000_000_005, 31_367_250_000_000]);
  expect(samples[0]?.frames[3]).toEqual({ symbol: "__libc_sendmsg", file: "/usr/lib/x86_64-linux-gnu/libc.so.6" });
  expect(samples.map(({ frames }) => partOf(frames))).toEqual(["kernel: delivery on loopback", "turn"]);
});

const KERNEL = "[kernel.kallsyms]";
const NODE = "/usr/bin/node";
const COMPILED = "/tmp/perf-7.map";
const LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6";

test.each([
  [["udp_sendmsg", KERNEL], ["__sys_sendmsg", KERNEL], "kernel: UDP send"],
  [["_copy_to_iter", KERNEL], ["do_recvmmsg", KERNEL], "kernel: UDP receive"],
  [["schedule", KERNEL], ["do_epoll_wait", KERNEL], "kernel: epoll"],
  [["clear_page", KERNEL], ["asm_exc_page_fault", KERNEL], "kernel: other"],
  [["malloc", LIBC], ["node::UDPWrap::OnAlloc", NODE], "C library"],
  [["memcpy", LIBC], ["v8::internal::Heap::CollectGarbage", NODE], "V8's garbage collection"],
  [["v8::internal::ConcurrentMarking::RunMajor", NODE], ["start_thread", LIBC], "V8's garbage collection"],
  [["x", NODE], ["v8::internal::compiler::PipelineCompilationJob::ExecuteJobImpl", NODE], "V8's compilers"],
  [["sha1_block_data_order_avx2", NODE], ["HMAC_Update", NODE], "cryptography"],
  [["node::UDPWrap::DoSend", NODE], ["uv_run", NODE], "Node and V8"],
  [["Builtins_JSEntry", COMPILED], ["uv_run", NODE], "Node and V8"],
  [["JS:*'doSend node:dgram:833:16", COMPILED], ["uv_run", NODE], "Node's JavaScript"],
  [["JS:*decodeMessage file:///x/packages/stun/dist/message.js:1:1", COMPILED], ["uv_run", NODE], "stun"],
  [["JS:*admit file:///x/packages/authn/src/admit.ts:1:1", COMPILED], ["uv_run", NODE], "other rooms"],
  [["x", "/x/node_modules/koffi/build/koffi.node"], ["uv_run", NODE], "koffi"],
  [["SHA1_Update", "/usr/lib/libcrypto.so.3"], ["main", "/usr/bin/turnserver"], "cryptography"],
  [["udp_recvfrom", "/usr/bin/turnserver"], ["main", "/usr/bin/turnserver"], "its own code"],
] as const)("%s, called by %s, is %s", ([symbol, file], [caller, callerFile], part) => {
  expect(
    partOf([
      { symbol, file },
      { symbol: caller, file: callerFile },
    ]),
  ).toBe(part);
});

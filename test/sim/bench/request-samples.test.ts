import { expect, test } from "vitest";
import { requestPartOf, samplesOf } from "../../../bench/relay/request-samples.ts";

const KERNEL = "[kernel.kallsyms]";
const NODE = "/usr/bin/node";
const COMPILED = "/tmp/perf-7.map";
const LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6";
const DAEMON = "/usr/bin/turnserver";
const REPLY = ["JS:*'reply file:///x/packages/turn/src/server/reply.ts:1:1", COMPILED] as const;

test.each([
  [["udp_sendmsg", KERNEL], ["__sys_sendmmsg", KERNEL], "kernel: UDP"],
  [["do_syscall_64", KERNEL], ["__recvmmsg", LIBC], "kernel: UDP"],
  [["kmem_cache_alloc", KERNEL], ["__sys_socket", KERNEL], "kernel: sockets made and ended"],
  [["do_syscall_64", KERNEL], ["__GI___setsockopt", LIBC], "kernel: sockets made and ended"],
  [["udp_lib_get_port", KERNEL], ["__sys_bind", KERNEL], "kernel: sockets made and ended"],
  [["evict", KERNEL], ["__x64_sys_close", KERNEL], "kernel: sockets made and ended"],
  [["ep_insert", KERNEL], ["do_epoll_ctl", KERNEL], "kernel: sockets made and ended"],
  [["schedule", KERNEL], ["do_epoll_wait", KERNEL], "kernel: epoll"],
  [["do_syscall_64", KERNEL], ["__GI___lll_lock_wake", LIBC], "kernel: threads"],
  [["eventfd_write", KERNEL], ["ksys_write", KERNEL], "kernel: threads"],
  [["pipe_write", KERNEL], ["ksys_write", KERNEL], "kernel: write"],
  [["clear_page", KERNEL], ["asm_exc_page_fault", KERNEL], "kernel: other"],
  [["eventfd_write", KERNEL], ["uv_async_send", NODE], "messages between threads"],
  [["malloc", LIBC], ["v8::ValueSerializer::WriteValue", NODE], "messages between threads"],
  [REPLY, ["node::worker::MessagePort::OnMessage", NODE], "turn"],
  [["memcpy", LIBC], ["v8::internal::Heap::CollectGarbage", NODE], "V8's garbage collection"],
  [["x", NODE], ["v8::internal::compiler::PipelineCompilationJob::ExecuteJobImpl", NODE], "V8's compilers"],
  [["sha1_block_data_order_shaext", NODE], REPLY, "cryptography"],
  [["malloc", LIBC], ["node::crypto::Hash::OneShotDigest", NODE], "cryptography"],
  [["JS:*'hash node:internal/crypto/hash:337:14", COMPILED], REPLY, "cryptography"],
  [["Builtins_CreateTypedArray", NODE], REPLY, "Node and V8"],
  [["JS:^listOnTimeout node:internal/timers:623:25", COMPILED], ["uv_run", NODE], "Node and V8"],
  [["malloc", LIBC], REPLY, "C library"],
  [["[unknown]", "/usr/lib/libcrypto.so.3"], ["main", DAEMON], "cryptography"],
  [["[unknown]", DAEMON], ["main", DAEMON], "its own code"],
] as const)("a request's %s, called by %s, is %s", ([symbol, file], [caller, callerFile], part) => {
  expect(
    requestPartOf([
      { symbol, file },
      { symbol: caller, file: callerFile },
    ]),
  ).toBe(part);
});

test("a sample is of the stretch in which it was taken, or of none", () => {
  const samples = [5, 10, 20, 25, 30, 41].map((atNs) => ({ atNs, frames: [] }));
  const [first, second] = [
    { fromNs: 10, toNs: 20 },
    { fromNs: 30, toNs: 40 },
  ];
  const found = samplesOf(samples, [first, second]);
  expect(found.map(([stretch, { atNs }]) => [stretch === first, atNs])).toEqual([
    [true, 10],
    [true, 20],
    [false, 30],
  ]);
});

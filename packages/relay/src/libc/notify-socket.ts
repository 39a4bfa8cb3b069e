import { describeErrno, type Libc, type LibcUnavailable, loadLibc } from "./libc.ts";
import { SOCK_CLOEXEC, SOCK_DGRAM } from "./layout.ts";

/** Sends datagrams to a Unix domain socket, which the runtime's own sockets can't. */
export interface NotifySocket {
  /** False if nobody took it. Never throws, never waits. */
  send(text: string): boolean;
  close(): void;
}

const AF_UNIX = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** `sun_path` of `sockaddr_un`, unix(7). */
const MAX_PATH_BYTES = 108;

/**
 * Opens a socket that sends to `path`; one that begins with `@` is in the abstract name space (sd_notify(3)). Needs what
 * the batched plane needs.
 */
export function openNotifySocket(
  path: string,
  libc: Libc | LibcUnavailable = loadLibc(),
): NotifySocket | LibcUnavailable {
  if ("unavailable" in libc) return libc;
  const name = new TextEncoder().encode(path.startsWith("@") ? `\0${path.slice(1)}` : path);
  if (name.length === 0 || name.length > MAX_PATH_BYTES) return { unavailable: "the socket's path is too long" };
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return { unavailable: `there is no socket to be had: ${describeErrno(libc.errno())}` };
  const address = new Uint8Array(2 + name.length);
  address[0] = AF_UNIX;
  address.set(name, 2);
  return {
    send(text) {
      const bytes = new TextEncoder().encode(text);
      const [to, from] = [libc.addressOf(address), libc.addressOf(bytes)];
      return libc.sendto(fd, from, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, to, address.length) === bytes.length;
    },
    close: () => void libc.close(fd),
  };
}

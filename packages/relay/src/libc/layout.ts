/**
 * The one table of kernel and glibc numbers: struct layouts and constants of Linux on x86-64, as
 * <sys/socket.h>, <netinet/in.h>, <sys/epoll.h> and <linux/errqueue.h> define them. Offsets and sizes are in bytes.
 * The self-test proves them on the machine at hand before they are trusted.
 */

/** `struct sockaddr_in` and `struct sockaddr_in6` share the first two members. */
export const sockaddr = {
  family: 0,
  port: 2,
  in: { address: 4, size: 16 },
  in6: { flowinfo: 4, address: 8, scopeId: 24, size: 28 },
} as const;

export const iovec = { base: 0, length: 8, size: 16 } as const;

export const msghdr = {
  name: 0,
  nameLength: 8,
  iov: 16,
  iovLength: 24,
  control: 32,
  controlLength: 40,
  flags: 48,
  size: 56,
} as const;

/** `struct mmsghdr`: a msghdr and the number of bytes that were received or sent. */
export const mmsghdr = { header: 0, length: 56, size: 64 } as const;

/** `struct cmsghdr`: entries start at multiples of 8. */
export const cmsghdr = { length: 0, level: 8, type: 12, data: 16, alignment: 8 } as const;

/** `struct epoll_event` is packed on x86-64. */
export const epollEvent = { events: 0, data: 4, size: 12 } as const;

/** `struct sock_extended_err`; the offender's sockaddr follows it. */
export const extendedError = { errno: 0, origin: 4, type: 5, code: 6, info: 8, data: 12, offender: 16 } as const;

export const AF_INET = 2;
export const AF_INET6 = 10;
export const SOCK_DGRAM = 2;
export const SOCK_NONBLOCK = 0o4000;
export const SOCK_CLOEXEC = 0o2000000;

export const SOL_SOCKET = 1;
export const SO_SNDBUF = 7;
export const SO_RCVBUF = 8;
export const SO_REUSEPORT = 15;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
/** Linux 4.12 and later: an array of 32-bit counts; the ninth is of packets that the socket dropped. */
export const SO_MEMINFO = 55;
export const MEMINFO_SIZE = 36;
export const MEMINFO_DROPS = 32;

export const IPPROTO_IP = 0;
export const IP_TOS = 1;
export const IP_MTU_DISCOVER = 10;
export const IP_RECVERR = 11;
export const IP_RECVTOS = 13;

export const IPPROTO_IPV6 = 41;
export const IPV6_MTU_DISCOVER = 23;
export const IPV6_RECVERR = 25;
export const IPV6_V6ONLY = 26;
export const IPV6_RECVTCLASS = 66;
export const IPV6_TCLASS = 67;

/** Values of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER. */
export const PMTUDISC_DONT = 0;
export const PMTUDISC_DO = 2;

export const IPPROTO_UDP = 17;
export const UDP_SEGMENT = 103;
export const UDP_GRO = 104;

export const MSG_DONTWAIT = 0x40;
export const MSG_ERRQUEUE = 0x2000;

export const EPOLLIN = 0x1;
export const EPOLLERR = 0x8;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CLOEXEC = 0o2000000;

export const EFD_NONBLOCK = 0o4000;
export const EFD_CLOEXEC = 0o2000000;

/** Origins of a `sock_extended_err`. */
export const SO_EE_ORIGIN_LOCAL = 1;
export const SO_EE_ORIGIN_ICMP = 2;
export const SO_EE_ORIGIN_ICMP6 = 3;

/** Error numbers that the data path tells apart. */
export const EPERM = 1;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const EMSGSIZE = 90;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;
export const EHOSTDOWN = 112;
export const EHOSTUNREACH = 113;

import type { TLSSocket } from "node:tls";

/**
 * Makes `end()` of a TLS socket wait until nothing is being read from it. Node ends one direction by calling OpenSSL's
 * SSL_shutdown twice; the second call reads, and throws away, whatever record stands behind the one whose `data` event
 * (or a promise that it settled) led to the end. Without this, answering "I am done" to one message loses the next.
 */
export function endOutsideReads<Socket extends TLSSocket>(socket: Socket): Socket {
  const final = socket._final?.bind(socket);
  if (final !== undefined) {
    socket._final = (done) => {
      setImmediate(() => final(done));
    };
  }
  return socket;
}

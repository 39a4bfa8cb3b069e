import * as L from "../../libc/layout.ts";
import { PlaneCounter as Counter } from "../counters.ts";

/** Errors that an earlier packet of the socket caused, told once at the next call. */
export function isSoftError(errno: number): boolean {
  return errno === L.ECONNREFUSED || errno === L.EHOSTUNREACH || errno === L.ENETUNREACH || errno === L.EHOSTDOWN;
}

/** Errors of an aggregate whose packets may pass one by one. */
export function isSegmentationError(errno: number): boolean {
  return errno === L.EINVAL || errno === L.EMSGSIZE || errno === L.EIO;
}

/** Counts packets that the system refused. */
export function countFailure(counters: Float64Array, errno: number, packets: number): void {
  count(counters, Counter.sendErrors, packets);
  if (errno === L.EAGAIN) count(counters, Counter.sendBufferFull, packets);
  else if (errno === L.ENOBUFS || errno === L.ENOMEM) count(counters, Counter.sendNoBuffers, packets);
  else if (errno === L.EMSGSIZE) count(counters, Counter.sendTooLarge, packets);
  else if (errno === L.EPERM || errno === L.EACCES) count(counters, Counter.sendForbidden, packets);
}

/** Adds to one counter. */
export function count(counters: Float64Array, index: number, by: number): void {
  counters[index] = (counters[index] ?? 0) + by;
}

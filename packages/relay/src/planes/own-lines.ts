/** Two cache lines: processors fetch them in pairs. */
const PAIR = 128;

/**
 * Shared memory for `count` numbers that one thread writes all the time. It keeps a pair of cache lines before and behind
 * them free: whatever lies beside it, no other thread's memory is on their lines, so that writing them makes no core
 * fetch anything anew. See {@link onOwnLines}.
 */
export function ownLines(count: number): SharedArrayBuffer {
  return new SharedArrayBuffer(PAIR + count * Float64Array.BYTES_PER_ELEMENT + PAIR);
}

/** The numbers in memory of {@link ownLines}, as a thread sees them. */
export function onOwnLines(memory: SharedArrayBuffer): Float64Array {
  return new Float64Array(memory, PAIR, (memory.byteLength - 2 * PAIR) / Float64Array.BYTES_PER_ELEMENT);
}

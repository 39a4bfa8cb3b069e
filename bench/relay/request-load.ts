import { Arena, type Libc, loadLibc, SocketFactory } from "@turnpike/relay";
import {
  attribute,
  lifetime,
  requestedTransport,
  transportAddress,
  xorPeerAddress,
  type EncodedAttribute,
  type Method,
} from "@turnpike/stun";
import { SeededRandom } from "../../test/sim/support/random.ts";
import { outcomeOf, StunClient, stunOf } from "../../test/sim/support/stun-client.ts";
import { threadsNs } from "./core-time.ts";
import type { Subject } from "./subjects.ts";

/** Requests that are measured, in the order in which each round's clients make them. */
export const operations = ["challenge", "Allocate", "Refresh", "CreatePermission", "Refresh 0"] as const;
export type Operation = (typeof operations)[number];

/** One request of each client, all under way at once. */
export interface Exchange {
  readonly operation: Operation;
  readonly requests: number;
  /** From the first request to the last answer, by CLOCK_MONOTONIC. */
  readonly fromNs: number;
  readonly toNs: number;
  /** CPU time of all the server's threads, as the scheduler counts it. */
  readonly cpuNs: number;
}

export const SOCKETS = 200;
const ANSWER_TIMEOUT_NS = 5e9;
const LONGEST_ANSWER = 2048;

interface Client {
  readonly fd: number;
  readonly stun: StunClient;
}

const allocate = [attribute(requestedTransport, 17)];
const permit = [attribute(xorPeerAddress, transportAddress("203.0.114.1", 9))];
const signed = (method: Method, attributes: readonly EncodedAttribute[]) => (client: Client) =>
  client.stun.signed(method, attributes);
const kinds: Readonly<Record<Operation, readonly [(client: Client) => Uint8Array, number | "success"]>> = {
  challenge: [({ stun }) => stun.plain("allocate", allocate), 401],
  Allocate: [signed("allocate", allocate), "success"],
  Refresh: [signed("refresh", [attribute(lifetime, 600)]), "success"],
  CreatePermission: [signed("createPermission", permit), "success"],
  "Refresh 0": [signed("refresh", [attribute(lifetime, 0)]), "success"],
};

/** Asks one server on `ip`. Requests are signed before they are measured; each of the sockets has one under way. */
export class RequestLoad {
  readonly #subject: Subject;
  readonly #ip: string;
  readonly #libc: Libc;
  readonly #arena: Arena;
  readonly #factory: SocketFactory;
  readonly #scratch: number;
  #rounds = 0;

  constructor(subject: Subject, ip: string) {
    const libc = loadLibc();
    if ("unavailable" in libc) throw new Error(libc.unavailable);
    this.#subject = subject;
    this.#ip = ip;
    this.#libc = libc;
    this.#arena = new Arena(libc, 4096);
    this.#factory = new SocketFactory(libc, this.#arena);
    this.#scratch = this.#arena.reserve(LONGEST_ANSWER);
  }

  /** Each operation once, of clients of its own. @throws Error if an answer is missing or isn't what was expected. */
  round(): readonly Exchange[] {
    const clients = this.#openClients();
    const exchanges = operations.map((operation) => this.#exchangeAll(clients, operation));
    for (const { fd } of clients) this.#libc.close(fd);
    return exchanges;
  }

  /** Of an address of their own each round: coturn holds on to a five-tuple after its allocation has ended. */
  #openClients(): readonly Client[] {
    const remote = transportAddress(this.#ip, this.#subject.port);
    const local = transportAddress(`127.1.${(++this.#rounds >> 8) & 255}.${this.#rounds & 255}`, 0);
    return Array.from({ length: SOCKETS }, (_, index) => {
      const { fd } = this.#factory.open({ local, remote });
      return { fd, stun: new StunClient({ username: "u", password: "p" }, new SeededRandom(index + 1)) };
    });
  }

  #exchangeAll(clients: readonly Client[], operation: Operation): Exchange {
    const [make, expected] = kinds[operation];
    const requests = clients.map((client) => make(client));
    const answers: Uint8Array[] = [];
    const cpuBefore = threadsNs([this.#subject.pid]);
    const fromNs = monotonicNs();
    for (const [index, { fd }] of clients.entries()) {
      const request = requests[index]!;
      this.#arena.bytes.set(request, this.#scratch);
      this.#libc.write(fd, this.#arena.address + this.#scratch, request.length);
    }
    const waiting = new Set(clients.keys());
    while (waiting.size > 0) {
      for (const index of waiting) {
        const length = this.#libc.read(clients[index]!.fd, this.#arena.address + this.#scratch, LONGEST_ANSWER);
        if (length <= 0) continue;
        answers[index] = this.#arena.bytes.slice(this.#scratch, this.#scratch + length);
        waiting.delete(index);
      }
      if (monotonicNs() - fromNs > ANSWER_TIMEOUT_NS) {
        throw new Error(`${waiting.size} requests were not answered within ${ANSWER_TIMEOUT_NS / 1e9} s`);
      }
    }
    const toNs = monotonicNs();
    const cpuNs = threadsNs([this.#subject.pid]) - cpuBefore;
    for (const [index, { stun }] of clients.entries()) {
      const answer = stunOf(answers[index]!);
      const outcome = outcomeOf(answer);
      if (outcome !== expected) throw new Error(`Answered ${outcome} where ${expected} was expected`);
      if (outcome === 401) stun.learn(answer);
    }
    return { operation, requests: clients.length, fromNs, toNs, cpuNs };
  }
}

function monotonicNs(): number {
  return Number(process.hrtime.bigint());
}

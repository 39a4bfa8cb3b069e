/** Two W3C peer connections that talk through TURN: one test for every implementation in Node. */

/** What of `RTCDataChannel` the exchange needs. */
export interface ChannelLike {
  /** At the moment when it was wrapped. */
  readonly readyState: string;
  onOpen(listener: () => void): void;
  onMessage(listener: (text: string) => void): void;
  send(text: string): void;
}

/** What is trickled. */
export interface Candidate {
  readonly candidate: string;
  readonly sdpMid?: string | null | undefined;
}

/** What of `RTCPeerConnection` the exchange needs, implementations adapted by the tests. */
export interface PeerLike {
  createChannel(label: string): ChannelLike;
  onChannel(listener: (channel: ChannelLike) => void): void;
  onCandidate(listener: (candidate: Candidate) => void): void;
  addCandidate(candidate: Candidate): Promise<void>;
  /** Makes and sets the local description; gives its SDP. */
  offer(): Promise<string>;
  answer(offer: string): Promise<string>;
  accept(answer: string): Promise<void>;
  close(): Promise<void> | void;
}

/** What came of an exchange. */
export interface ExchangeResult {
  readonly receivedByCaller: readonly string[];
  readonly receivedByCallee: readonly string[];
  /** Types of all candidates that were gathered. */
  readonly candidateTypes: ReadonlySet<string>;
  /** `address port` of each. */
  readonly addresses: ReadonlySet<string>;
}

/** Connects two peers and sends `count` numbered messages each way over one data channel. */
export async function exchangeMessages(options: {
  readonly caller: PeerLike;
  readonly callee: PeerLike;
  readonly count: number;
  readonly timeoutMs: number;
}): Promise<ExchangeResult> {
  const { caller, callee, count } = options;
  const candidateTypes = new Set<string>();
  const addresses = new Set<string>();
  for (const [from, to] of [
    [caller, callee],
    [callee, caller],
  ] as const) {
    from.onCandidate((candidate) => {
      const [, address, type] = /(\S+ \d+) typ (\w+)/.exec(candidate.candidate) ?? [];
      if (address !== undefined && type !== undefined) {
        addresses.add(address);
        candidateTypes.add(type);
      }
      void to.addCandidate(candidate);
    });
  }

  const receivedByCaller: string[] = [];
  const receivedByCallee: string[] = [];
  const exchanged = Promise.all([
    exchange(caller.createChannel("test"), { count, prefix: "caller", received: receivedByCaller }),
    new Promise<void>((resolve, reject) => {
      callee.onChannel((channel) => {
        exchange(channel, { count, prefix: "callee", received: receivedByCallee }).then(resolve, reject);
      });
    }),
  ]);
  await caller.accept(await callee.answer(await caller.offer()));
  await withTimeout(
    exchanged,
    options.timeoutMs,
    () =>
      `caller got ${receivedByCaller.length}, callee ${receivedByCallee.length} of ${count}; candidates: ${[...candidateTypes].join()}`,
  );
  return { receivedByCaller, receivedByCallee, candidateTypes, addresses };
}

/** `caller 0`, `caller 1`, …: what the other side must have received. */
export function numbered(prefix: string, count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix} ${index}`);
}

/** Sends when the channel is open; resolves when all messages of the other side are there. */
function exchange(
  channel: ChannelLike,
  options: { readonly count: number; readonly prefix: string; readonly received: string[] },
): Promise<void> {
  return new Promise((resolve) => {
    const sendAll = (): void => {
      for (const text of numbered(options.prefix, options.count)) channel.send(text);
    };
    channel.onMessage((text) => {
      options.received.push(text);
      if (options.received.length === options.count) resolve();
    });
    if (channel.readyState === "open") sendAll();
    else channel.onOpen(sendAll);
  });
}

async function withTimeout<Value>(promise: Promise<Value>, ms: number, describe: () => string): Promise<Value> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms} ms: ${describe()}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

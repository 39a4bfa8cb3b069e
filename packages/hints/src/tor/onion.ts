import { abortable, type Clock, reasonOf } from "../clock.ts";
import { describeTarget } from "../gate.ts";
import type { DialTarget } from "../network.ts";
import { parseKeywords } from "./control-protocol.ts";
import { type TorControl, TorControlError } from "./control.ts";

/** A version 3 onion service that lives as long as the control connection that made it, and is made again with the next. */
export interface OnionService {
  /** `….onion`. */
  readonly host: string;
  readonly virtualPort: number;
  /** The private key as Tor writes it (`ED25519-V3:…`), for a file of mode 0600. Not part of any printed form. */
  secretKey(): string;
  /** Ends the service. */
  close(): Promise<void>;
}

interface OnionRequest {
  readonly key: string | undefined;
  readonly virtualPort: number;
  readonly target: DialTarget;
  readonly signal: AbortSignal;
}

interface Registered {
  readonly serviceId: string;
  readonly key: string;
  readonly virtualPort: number;
  readonly target: DialTarget;
  control: TorControl;
}

/** The onion services of one `Tor`. */
export class OnionRegistry {
  readonly #services: Set<Registered> = new Set();

  /** How many services there are. */
  get size(): number {
    return this.#services.size;
  }

  /** Creates a service and waits until its descriptors are published: only then can everyone reach it. */
  async create(control: TorControl, request: OnionRequest & { readonly clock: Clock }): Promise<OnionService> {
    const { key, virtualPort, target, signal } = request;
    const { serviceId, secret } = await publishOnion(control, { key, virtualPort, target, signal }, request.clock);
    const registered: Registered = { serviceId, key: secret, virtualPort, target, control };
    this.#services.add(registered);
    return {
      host: `${serviceId}.onion`,
      virtualPort,
      secretKey: () => secret,
      close: async () => {
        this.#services.delete(registered);
        // A control connection that is gone took the service with it.
        await registered.control.command(`DEL_ONION ${serviceId}`).catch(() => undefined);
      },
    };
  }

  /** Creates every service again, on a new control connection; Tor publishes them in its own time. */
  async restore(control: TorControl, signal: AbortSignal): Promise<void> {
    await Promise.all(
      [...this.#services].map(async (service) => {
        await addOnion(control, { ...service, signal });
        service.control = control;
      }),
    );
  }
}

/** How long a second descriptor may follow the first one, in milliseconds. */
const secondDescriptorMilliseconds = 5_000;

async function publishOnion(
  control: TorControl,
  request: OnionRequest,
  clock: Clock,
): Promise<{ readonly serviceId: string; readonly secret: string }> {
  const { signal } = request;
  const publications = new Map<string, Publication>();
  const published = Promise.withResolvers<void>();
  let cancel: (() => void) | undefined;
  let awaited: string | undefined;
  const look = (): void => {
    const count = awaited === undefined ? 0 : (publications.get(awaited)?.published ?? 0);
    if (count >= 2) published.resolve();
    else if (count === 1) cancel ??= clock.after(secondDescriptorMilliseconds, published.resolve);
  };
  const stop = control.onEvent((lines) => {
    const [event, action = "", address = "", , directory = "", descriptor = ""] = (lines[0] ?? "").split(" ");
    if (event !== "HS_DESC") return;
    const publication = publications.get(address) ?? new Publication();
    publications.set(address, publication);
    publication.note(action, directory, descriptor);
    look();
  });
  const lost = control.closed.then((error) => {
    throw error;
  });
  lost.catch(() => undefined);
  try {
    const added = await addOnion(control, request);
    awaited = added.serviceId;
    look();
    await abortable(Promise.race([published.promise, lost]), signal).catch(async (error: unknown) => {
      await control.command(`DEL_ONION ${added.serviceId}`).catch(() => undefined);
      throw signal.aborted ? reasonOf(signal) : error;
    });
    return added;
  } finally {
    stop();
    cancel?.();
  }
}

/**
 * What became of the descriptors of one service (control-spec §4.1.25). A service has two, for this period of time and the
 * one beside it, and who looks for it may need either; each goes to several directories.
 */
export class Publication {
  readonly #waiting: Map<string, string[]> = new Map();
  readonly #open: Map<string, number> = new Map();
  readonly #uploaded: Set<string> = new Set();

  /** Takes an event: its action, the directory, and the descriptor where the event names it. */
  note(action: string, directory: string, descriptor: string): void {
    if (action === "UPLOAD") {
      this.#waiting.set(directory, [...(this.#waiting.get(directory) ?? []), descriptor]);
      this.#open.set(descriptor, (this.#open.get(descriptor) ?? 0) + 1);
    } else if (action === "UPLOADED" || action === "FAILED") {
      // An answer does not name the descriptor: a directory answers in order.
      const answered = this.#waiting.get(directory)?.shift();
      if (answered === undefined) return;
      this.#open.set(answered, (this.#open.get(answered) ?? 1) - 1);
      if (action === "UPLOADED") this.#uploaded.add(answered);
    }
  }

  /** How many descriptors are where they belong: at least one directory took them, and none is still to answer. */
  get published(): number {
    return [...this.#uploaded].filter((descriptor) => this.#open.get(descriptor) === 0).length;
  }
}

async function addOnion(
  control: TorControl,
  request: OnionRequest,
): Promise<{ readonly serviceId: string; readonly secret: string }> {
  const { key, virtualPort, target, signal } = request;
  if (key !== undefined && !/^ED25519-V3:[A-Za-z0-9+/=]{64,128}$/u.test(key)) {
    throw new TorControlError("The key of the onion service is not of the form ED25519-V3:…");
  }
  const where = target.kind === "unix" ? `unix:${target.path}` : describeTarget(target);
  const line = `ADD_ONION ${key ?? "NEW:ED25519-V3"} Port=${virtualPort},${where}`;
  const reply = await control.command(line, { signal });
  const words = new Map(reply.lines.flatMap((text) => [...parseKeywords(text)]));
  const serviceId = words.get("ServiceID");
  const secret = words.get("PrivateKey") ?? key;
  if (serviceId === undefined || secret === undefined) throw new TorControlError("Tor made no onion service");
  return { serviceId, secret };
}

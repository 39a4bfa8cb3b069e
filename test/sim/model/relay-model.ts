/**
 * RFC 8656 for UDP allocations, written to be read: who may send to whom, what expires when, who gets which code.
 * It keeps plain lists, scans all of them, and knows nothing of bytes, tables or timers. Times are in seconds.
 */

export const PERMISSION_LIFETIME = 300;
export const CHANNEL_LIFETIME = 600;
export const CHANNEL_COOLDOWN = 300;
export const DEFAULT_LIFETIME = 600;
export const MAX_LIFETIME = 3600;
export const NONCE_LIFETIME = 600;

/** `ip` alone is what a permission is for; `ip` and `port` are what a channel is for. */
export interface ModelPeer {
  readonly family: 4 | 6;
  readonly ip: string;
  readonly port: number;
  /** What the peer policy says of `ip`. `own` is an address of the relay. */
  readonly policy: "global" | "special" | "own";
}

interface ModelChannel {
  readonly number: number;
  readonly peer: ModelPeer;
  /** When the binding ends. Number and peer stay together for CHANNEL_COOLDOWN more. */
  ends: number;
}

interface ModelAllocation {
  readonly client: string;
  readonly user: string;
  readonly madeBy: number;
  /** Each relayed transport address has a time-to-expiry of its own. */
  relayed: { readonly family: 4 | 6; readonly port: number; ends: number }[];
  readonly reserved: boolean;
  permissions: { readonly ip: string; readonly family: 4 | 6; ends: number }[];
  channels: ModelChannel[];
}

/** Credentials as a request carries them. */
export interface ModelCredentials {
  readonly user: string;
  readonly passwordIsRight: boolean;
  /** When the nonce was issued to this client; undefined: none was. */
  readonly nonceAt: number | undefined;
}

export type ModelRequest = ModelCredentials & {
  readonly client: string;
  readonly transaction: number;
} & (
    | {
        readonly method: "allocate";
        readonly family: 4 | 6 | "both";
        readonly port: "any" | "even" | "pair" | "reserved";
        readonly lifetime: number | undefined;
        /** For `reserved`: whose reservation, or undefined for a made-up token. */
        readonly reservation: number | undefined;
      }
    | { readonly method: "refresh"; readonly lifetime: number | undefined; readonly family: 4 | 6 | undefined }
    | { readonly method: "createPermission"; readonly peers: readonly ModelPeer[] }
    | { readonly method: "channelBind"; readonly number: number; readonly peer: ModelPeer }
  );

export type ModelAnswer = "success" | number;

/** Where data goes: nowhere, to a peer, or to a client by channel or Data indication. */
export type ModelForward =
  | undefined
  | { readonly to: "peer"; readonly family: 4 | 6; readonly relayedPort: number }
  | { readonly to: "client"; readonly client: string; readonly by: number | "data" };

export class RelayModel {
  now = 0;
  allocations: ModelAllocation[] = [];
  reservations: {
    readonly handle: number;
    readonly user: string;
    readonly family: 4 | 6;
    readonly port: number;
    ends: number;
  }[] = [];

  advance(seconds: number): void {
    this.now += seconds;
    for (const allocation of this.allocations) this.#keep(allocation, ({ ends }) => ends > this.now);
    this.reservations = this.reservations.filter(({ ends }) => ends > this.now);
    for (const allocation of this.allocations) {
      allocation.permissions = allocation.permissions.filter(({ ends }) => ends > this.now);
      allocation.channels = allocation.channels.filter(({ ends }) => ends + CHANNEL_COOLDOWN > this.now);
    }
  }

  allocationOf(client: string): ModelAllocation | undefined {
    return this.allocations.find((allocation) => allocation.client === client);
  }

  /** `world` says which ports the relay would open: the model doesn't choose ports. */
  request(
    request: ModelRequest,
    world: { readonly nextPorts: (wanted: ModelRequest) => readonly number[] },
  ): ModelAnswer {
    if (request.nonceAt === undefined) return 401;
    if (this.now - request.nonceAt >= NONCE_LIFETIME) return 438;
    if (!request.passwordIsRight) return 401;
    if (request.method === "allocate") return this.#allocate(request, world);
    const allocation = this.allocationOf(request.client);
    if (allocation === undefined) return 437;
    if (allocation.user !== request.user) return 441;
    switch (request.method) {
      case "refresh":
        return this.#refresh(allocation, request);
      case "createPermission":
        return this.#createPermission(allocation, request.peers);
      case "channelBind":
        return this.#channelBind(allocation, request.number, request.peer);
    }
  }

  send(client: string, peer: ModelPeer): ModelForward {
    const allocation = this.allocationOf(client);
    if (allocation === undefined || !this.#permitted(allocation, peer)) return undefined;
    return this.#toPeer(allocation, peer);
  }

  channelData(client: string, number: number): ModelForward {
    const allocation = this.allocationOf(client);
    const channel = allocation?.channels.find((one) => one.number === number && one.ends > this.now);
    if (allocation === undefined || channel === undefined || !this.#permitted(allocation, channel.peer))
      return undefined;
    return this.#toPeer(allocation, channel.peer);
  }

  fromPeer(client: string, peer: ModelPeer): ModelForward {
    const allocation = this.allocationOf(client);
    if (allocation === undefined || !this.#permitted(allocation, peer)) return undefined;
    const channel = allocation.channels.find((one) => samePeer(one.peer, peer) && one.ends > this.now);
    return { to: "client", client, by: channel?.number ?? "data" };
  }

  #allocate(
    request: ModelRequest & { readonly method: "allocate" },
    world: { readonly nextPorts: (wanted: ModelRequest) => readonly number[] },
  ): ModelAnswer {
    const existing = this.allocationOf(request.client);
    if (existing !== undefined) return existing.madeBy === request.transaction ? "success" : 437;
    if (request.family === "both" && request.port === "pair") return 400;
    let relayed: { readonly family: 4 | 6; readonly port: number }[];
    if (request.port === "reserved") {
      const reservation = this.reservations.find(
        ({ handle, user }) => handle === request.reservation && user === request.user,
      );
      if (reservation === undefined) return 508;
      this.reservations = this.reservations.filter((one) => one !== reservation);
      relayed = [{ family: reservation.family, port: reservation.port }];
    } else {
      const families: readonly (4 | 6)[] = request.family === "both" ? [4, 6] : [request.family];
      const ports = world.nextPorts(request);
      relayed = families.map((family, i) => ({ family, port: ports[i]! }));
    }
    this.allocations.push({
      client: request.client,
      user: request.user,
      madeBy: request.transaction,
      relayed: relayed.map((one) => ({ ...one, ends: this.now + granted(request.lifetime) })),
      reserved: request.port === "pair",
      permissions: [],
      channels: [],
    });
    return "success";
  }

  #refresh(allocation: ModelAllocation, request: ModelRequest & { readonly method: "refresh" }): ModelAnswer {
    const { family, lifetime } = request;
    if (family !== undefined && !allocation.relayed.some((one) => one.family === family)) return 443;
    const isMeant = (one: { readonly family: 4 | 6 }): boolean => family === undefined || one.family === family;
    if (lifetime === 0) this.#keep(allocation, (one) => !isMeant(one));
    else for (const one of allocation.relayed.filter(isMeant)) one.ends = this.now + granted(lifetime);
    return "success";
  }

  /** Relayed addresses that go take the permissions and channels of their family along, the last the allocation. */
  #keep(allocation: ModelAllocation, stays: (one: ModelAllocation["relayed"][number]) => boolean): void {
    allocation.relayed = allocation.relayed.filter(stays);
    const has = (family: 4 | 6): boolean => allocation.relayed.some((one) => one.family === family);
    allocation.permissions = allocation.permissions.filter(({ family }) => has(family));
    allocation.channels = allocation.channels.filter(({ peer }) => has(peer.family));
    this.allocations = this.allocations.filter(({ relayed }) => relayed.length > 0);
  }

  #createPermission(allocation: ModelAllocation, peers: readonly ModelPeer[]): ModelAnswer {
    if (peers.length === 0) return 400;
    if (peers.some((peer) => !allocation.relayed.some(({ family }) => family === peer.family))) return 443;
    if (peers.some((peer) => peer.policy === "special")) return 403;
    for (const peer of peers) this.#permit(allocation, peer);
    return "success";
  }

  #channelBind(allocation: ModelAllocation, number: number, peer: ModelPeer): ModelAnswer {
    if (number < 0x4000 || number > 0x7fff) return 400;
    const byNumber = allocation.channels.find((one) => one.number === number);
    const byPeer = allocation.channels.find((one) => samePeer(one.peer, peer));
    if (byNumber !== byPeer) return 400;
    if (!allocation.relayed.some(({ family }) => family === peer.family)) return 443;
    if (peer.policy === "special") return 403;
    this.#permit(allocation, peer);
    if (byNumber === undefined) allocation.channels.push({ number, peer, ends: this.now + CHANNEL_LIFETIME });
    else byNumber.ends = this.now + CHANNEL_LIFETIME;
    return "success";
  }

  #permit(allocation: ModelAllocation, peer: ModelPeer): void {
    const ends = this.now + PERMISSION_LIFETIME;
    const existing = allocation.permissions.find(({ ip }) => ip === peer.ip);
    if (existing === undefined) allocation.permissions.push({ ip: peer.ip, family: peer.family, ends });
    else existing.ends = ends;
  }

  /** A permission is for an address; at the relay's own addresses only living relayed ports may be reached. */
  #permitted(allocation: ModelAllocation, peer: ModelPeer): boolean {
    if (!allocation.permissions.some(({ ip }) => ip === peer.ip)) return false;
    return peer.policy !== "own" || this.#isLive(peer);
  }

  #isLive(peer: ModelPeer): boolean {
    return this.allocations.some(({ relayed }) =>
      relayed.some(({ family, port }) => family === peer.family && port === peer.port),
    );
  }

  #toPeer(allocation: ModelAllocation, peer: ModelPeer): ModelForward {
    const relay = allocation.relayed.find(({ family }) => family === peer.family);
    return relay && { to: "peer", family: peer.family, relayedPort: relay.port };
  }
}

function granted(lifetime: number | undefined): number {
  return Math.min(MAX_LIFETIME, Math.max(DEFAULT_LIFETIME, lifetime ?? 0));
}

function samePeer(a: ModelPeer, b: ModelPeer): boolean {
  return a.ip === b.ip && a.port === b.port;
}

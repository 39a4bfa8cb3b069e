import { once } from "node:events";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, TLSSocket } from "node:tls";
import { Client } from "ldapts";
import { Limiter } from "../limiter.ts";
import type { LdapServer, LdapSettings } from "./ldap-options.ts";

type ConnectionSettings = Pick<
  LdapSettings,
  "servers" | "startTls" | "tls" | "timeoutMs" | "maxConnections" | "maxQueued" | "idleMs"
>;

/** A connection that was lost; asking again on another may help. */
class ConnectionLostError extends Error {
  override readonly name = "ConnectionLostError";
}

/** One connection to one server: it is used for one question at a time, and never reconnects by itself. */
export class LdapConnection {
  readonly client: Client;
  /** Rejects when the connection ends, whoever ended it. */
  readonly lost: Promise<never>;
  readonly #socket: Socket;
  #alive = true;
  #given = false;
  readonly #lose: (error: Error) => void;

  private constructor(socket: Socket, server: LdapServer, { tls, timeoutMs }: ConnectionSettings) {
    const { promise, reject } = Promise.withResolvers<never>();
    this.lost = promise;
    this.#lose = reject;
    promise.catch(() => {});
    this.#socket = socket;
    socket.once("close", () => {
      this.#alive = false;
      reject(new ConnectionLostError("the LDAP server closed the connection"));
    });
    this.client = new Client({
      url: server.secure ? "ldaps://unused" : "ldap://unused",
      timeout: timeoutMs,
      createConnection: () => this.#give(socket),
      createSecureConnection: () => {
        if (!server.secure) return connectTls({ ...tls, ...identityOf(server), socket });
        if (socket instanceof TLSSocket) return this.#give(socket);
        throw new TypeError("Cannot use a plain connection for ldaps");
      },
    });
  }

  /** Connects, and is secure before it returns if the server is to be spoken to securely. */
  static async open(server: LdapServer, settings: ConnectionSettings, signal: AbortSignal): Promise<LdapConnection> {
    const { tls, timeoutMs, startTls } = settings;
    const { host, port } = server;
    const socket = server.secure ? connectTls({ ...tls, ...identityOf(server), port }) : connectTcp({ host, port });
    const bounded = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    try {
      await once(socket, server.secure ? "secureConnect" : "connect", { signal: bounded });
      // What goes wrong between two questions is seen by the end of the connection.
      socket.on("error", () => {});
      const connection = new LdapConnection(socket, server, settings);
      if (startTls) await connection.during(() => connection.client.startTLS(), bounded);
      return connection;
    } catch (error) {
      socket.on("error", () => {});
      socket.destroy();
      throw error;
    }
  }

  get alive(): boolean {
    return this.#alive;
  }

  destroy(reason: Error = new ConnectionLostError("the connection was closed")): void {
    this.#alive = false;
    this.#socket.destroy();
    this.#lose(reason);
  }

  /** Runs `work`, doesn't wait for answers that a lost connection can't bring, and ends the connection on an abort. */
  async during<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const abort = (): void => {
      this.destroy(signal.reason instanceof Error ? signal.reason : new Error("Aborted"));
    };
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      return await Promise.race([this.lost, work()]);
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /**
   * The client would open a connection anew when one was lost, and go on there: unbound, and unencrypted where StartTLS
   * had made it secure. So it is given one, and only one.
   */
  #give<S extends Socket>(socket: S): S {
    if (this.#given || !this.#alive) throw new ConnectionLostError("the connection was lost");
    this.#given = true;
    return socket;
  }
}

/** Whose certificate is expected. */
function identityOf({ host }: LdapServer): { readonly host: string; readonly servername?: string } {
  return isIP(host) === 0 ? { host, servername: host } : { host };
}

/** A bounded number of connections, kept for a while. */
export class LdapConnections {
  readonly #settings: ConnectionSettings;
  readonly #limiter: Limiter;
  readonly #idle: { readonly connection: LdapConnection; readonly timer: NodeJS.Timeout }[] = [];
  readonly #used = new Set<LdapConnection>();
  #closed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#limiter = new Limiter({ maxActive: settings.maxConnections, maxQueued: settings.maxQueued });
  }

  /** How many connections there are, used or not. */
  get count(): number {
    return this.#idle.length + this.#used.size;
  }

  /**
   * Runs `work` with a connection of its own. When a kept one turns out to be lost, it runs once more with a fresh one.
   * An abort ends the connection.
   *
   * @throws what `work` throws, and errors of the connection
   */
  run<T>(work: (connection: LdapConnection) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#limiter.run(async () => {
      if (this.#closed) throw new ConnectionLostError("the verifier was closed");
      const kept = this.#take();
      if (kept !== undefined) {
        try {
          return await this.#use(kept, work, signal);
        } catch (error) {
          if (signal.aborted || !(error instanceof ConnectionLostError)) throw error;
        }
      }
      return await this.#use(await this.#open(signal), work, signal);
    }, signal);
  }

  /** Ends all connections; what is under way fails. */
  close(): void {
    this.#closed = true;
    for (const { connection, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      connection.destroy();
    }
    for (const connection of this.#used) connection.destroy();
  }

  #take(): LdapConnection | undefined {
    for (let entry = this.#idle.pop(); entry !== undefined; entry = this.#idle.pop()) {
      clearTimeout(entry.timer);
      if (entry.connection.alive) return entry.connection;
      entry.connection.destroy();
    }
    return undefined;
  }

  #keep(connection: LdapConnection): void {
    if (this.#closed || !connection.alive) {
      connection.destroy();
      return;
    }
    const timer = setTimeout(() => {
      const index = this.#idle.findIndex((entry) => entry.connection === connection);
      if (index >= 0) this.#idle.splice(index, 1);
      connection.destroy();
    }, this.#settings.idleMs);
    timer.unref();
    this.#idle.push({ connection, timer });
  }

  /** The first server that answers. */
  async #open(signal: AbortSignal): Promise<LdapConnection> {
    const errors: unknown[] = [];
    for (const server of this.#settings.servers) {
      signal.throwIfAborted();
      try {
        return await LdapConnection.open(server, this.#settings, signal);
      } catch (error) {
        errors.push(error);
      }
    }
    signal.throwIfAborted();
    const reasons = errors.map((error) => (error instanceof Error ? error.message : String(error)));
    throw new Error(`no LDAP server could be reached: ${reasons.join("; ")}`, { cause: errors.at(-1) });
  }

  async #use<T>(
    connection: LdapConnection,
    work: (connection: LdapConnection) => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    this.#used.add(connection);
    try {
      const result = await connection.during(() => work(connection), signal);
      this.#keep(connection);
      return result;
    } catch (error) {
      connection.destroy();
      throw error;
    } finally {
      this.#used.delete(connection);
    }
  }
}

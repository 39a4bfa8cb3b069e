import { createHmac, timingSafeEqual } from "node:crypto";
import { serveProtocols } from "./alpn.ts";
import * as C from "./constants.ts";
import { createContext, useCertificate } from "./context.ts";
import type { OpenSsl } from "./openssl.ts";
import { isClientHello, splitIntoDatagrams } from "./records.ts";
import { DTLS_HANDSHAKE_MTU, DtlsSession, type DtlsSessionUser } from "./session.ts";

/** What {@link DtlsServer} is made with. */
export interface DtlsServerOptions {
  readonly openSsl: OpenSsl;
  /** PEM: the server's certificate, then its chain. */
  readonly cert: Uint8Array;
  /** PEM, not encrypted. */
  readonly key: Uint8Array;
  /** 32 random bytes: cookies are made with it. */
  readonly cookieKey: Uint8Array;
  /** Application protocols to agree on with clients that ask for any (RFC 7301), best first. Default: none. */
  readonly applicationProtocols?: readonly string[];
}

interface Ssl {
  readonly ssl: number;
  readonly read: number;
  readonly write: number;
}

/**
 * The server's side of DTLS 1.2. Nothing is kept of a client that has not shown by a cookie that it receives at its
 * address (RFC 6347 §4.2.1): one OpenSSL object serves all who have not, and its answer is shorter than their question.
 */
export class DtlsServer {
  readonly #openSsl: OpenSsl;
  readonly #cookieKey: Uint8Array;
  readonly #generate: unknown;
  readonly #verify: unknown;
  readonly #select: unknown;
  readonly #ignoredAddress: number;
  readonly #space: Uint8Array = new Uint8Array(4096);
  #context: number;
  #listening: Ssl | undefined;
  /** Who is being listened to, for the callbacks. */
  #client: Uint8Array = new Uint8Array(0);

  /** @throws TypeError if certificate and key can't be used. */
  constructor(options: DtlsServerOptions) {
    this.#openSsl = options.openSsl;
    this.#cookieKey = options.cookieKey;
    this.#generate = options.openSsl.createCallback((_ssl, bytes, length) => this.#generateCookie(bytes, length));
    this.#verify = options.openSsl.createCallback((_ssl, bytes, length) => this.#verifyCookie(bytes, length));
    const { applicationProtocols = [] } = options;
    this.#select =
      applicationProtocols.length === 0 ? undefined : serveProtocols(options.openSsl, applicationProtocols);
    this.#ignoredAddress = options.openSsl.BIO_ADDR_new();
    this.#context = this.#createContext(options.cert, options.key);
  }

  /** New sessions have another certificate. @throws TypeError if it can't be used: the one before stays. */
  setCertificate(cert: Uint8Array, key: Uint8Array): void {
    const context = this.#createContext(cert, key);
    this.#freeListening();
    // Sessions hold on to the context that they were made of.
    this.#openSsl.SSL_CTX_free(this.#context);
    this.#context = context;
  }

  /**
   * A datagram of a client that has no session. `client` are bytes that tell clients apart: the cookie is good for them
   * only. Gives a session if the datagram brought a valid cookie; else at most one answer goes to `user.send`.
   */
  accept(datagram: Uint8Array, client: Uint8Array, user: DtlsSessionUser): DtlsSession | undefined {
    if (!isClientHello(datagram)) return undefined;
    const openSsl = this.#openSsl;
    this.#listening ??= this.#createSsl();
    const { ssl, read, write } = this.#listening;
    this.#client = client;
    openSsl.ERR_clear_error();
    openSsl.BIO_write(read, datagram, datagram.length);
    const result = openSsl.DTLSv1_listen(ssl, this.#ignoredAddress);
    if (result > 0) {
      this.#listening = undefined;
      const session = new DtlsSession({ openSsl, ssl, read, write, user });
      session.start();
      return session;
    }
    const length = openSsl.BIO_read(write, this.#space, this.#space.length);
    if (length > 0) {
      for (const answer of splitIntoDatagrams(this.#space.subarray(0, length), DTLS_HANDSHAKE_MTU)) user.send(answer);
    }
    openSsl.BIO_ctrl(read, C.BIO_CTRL_RESET, 0, 0);
    if (result < 0) this.#freeListening();
    return undefined;
  }

  /** Frees what it holds. Sessions stay. */
  close(): void {
    this.#freeListening();
    if (this.#context !== 0) this.#openSsl.SSL_CTX_free(this.#context);
    this.#context = 0;
  }

  #createContext(cert: Uint8Array, key: Uint8Array): number {
    const openSsl = this.#openSsl;
    const context = createContext(openSsl, openSsl.DTLS_server_method());
    try {
      useCertificate(openSsl, context, cert, key);
    } catch (error) {
      openSsl.SSL_CTX_free(context);
      throw error;
    }
    openSsl.SSL_CTX_set_options(context, C.SSL_OP_COOKIE_EXCHANGE);
    openSsl.SSL_CTX_set_cookie_generate_cb(context, this.#generate);
    openSsl.SSL_CTX_set_cookie_verify_cb(context, this.#verify);
    if (this.#select !== undefined) openSsl.SSL_CTX_set_alpn_select_cb(context, this.#select, 0);
    return context;
  }

  #createSsl(): Ssl {
    const openSsl = this.#openSsl;
    const ssl = openSsl.SSL_new(this.#context);
    const read = openSsl.BIO_new(openSsl.BIO_s_mem());
    const write = openSsl.BIO_new(openSsl.BIO_s_mem());
    openSsl.SSL_set_bio(ssl, read, write);
    openSsl.SSL_ctrl(ssl, C.SSL_CTRL_SET_MTU, DTLS_HANDSHAKE_MTU, null);
    openSsl.SSL_set_accept_state(ssl);
    return { ssl, read, write };
  }

  #freeListening(): void {
    if (this.#listening !== undefined) this.#openSsl.SSL_free(this.#listening.ssl);
    this.#listening = undefined;
  }

  #cookie(): Uint8Array {
    return createHmac("sha256", this.#cookieKey).update(this.#client).digest();
  }

  #generateCookie(bytes: number, length: number): number {
    const cookie = this.#cookie();
    this.#openSsl.viewOf(bytes, cookie.length).set(cookie);
    const view = this.#openSsl.viewOf(length, 4);
    new DataView(view.buffer, view.byteOffset).setUint32(0, cookie.length, true);
    return 1;
  }

  #verifyCookie(bytes: number, length: number): number {
    const cookie = this.#cookie();
    if (length !== cookie.length) return 0;
    return timingSafeEqual(this.#openSsl.viewOf(bytes, length), cookie) ? 1 : 0;
  }
}

import { agreedProtocol } from "./alpn.ts";
import * as C from "./constants.ts";
import { type OpenSsl, takeOpenSslError } from "./openssl.ts";
import { splitIntoDatagrams } from "./records.ts";

/** Who takes what a session has. */
export interface DtlsSessionUser {
  /** A datagram for the other end. The bytes are used again after the call. */
  readonly send: (datagram: Uint8Array) => void;
  /** What the other end sent, one record. The bytes are used again after the call. */
  readonly receive: (bytes: Uint8Array) => void;
}

/** What the two ends agreed on. */
export interface DtlsSecurity {
  /** `DTLSv1.2`. */
  readonly protocol: string;
  /** The cipher's name in the RFCs, such as `TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384`. */
  readonly cipher: string;
  /** What ALPN agreed on, such as `stun.turn`. */
  readonly applicationProtocol: string | undefined;
}

/** A record carries at most 2^14 bytes (RFC 6347 §4.1). */
export const MAX_DTLS_PAYLOAD = 16_384;
/** What a handshake's datagrams fit into: the IPv6 minimum of 1,280 less headers. */
export const DTLS_HANDSHAKE_MTU = 1200;

/** OpenSSL's text of SSL_R_CERTIFICATE_VERIFY_FAILED. */
const CERTIFICATE_REFUSED = "certificate verify failed";

const READ_SPACE = new Uint8Array(MAX_DTLS_PAYLOAD + 1024);
const WRITE_SPACE = new Uint8Array(65_536);
const TIME_SPACE = new Uint8Array(16);
const TIME_VIEW = new DataView(TIME_SPACE.buffer);

/**
 * One DTLS association, without sockets and timers of its own: hand it each datagram that comes, and call
 * `handleTimeout` when `timeoutMs` has passed. After `close`, or when it has ended by itself, it does nothing.
 */
export class DtlsSession {
  readonly #openSsl: OpenSsl;
  readonly #user: DtlsSessionUser;
  readonly #read: number;
  readonly #write: number;
  #ssl: number;
  #state: "handshaking" | "open" | "ended" = "handshaking";
  #error: string | undefined;
  #certificateProblem: string | undefined;
  #isBusy = false;

  /** Takes over `ssl`, which has memory BIOs, and frees it in the end. */
  constructor(options: {
    readonly openSsl: OpenSsl;
    readonly ssl: number;
    readonly read: number;
    readonly write: number;
    readonly user: DtlsSessionUser;
  }) {
    this.#openSsl = options.openSsl;
    this.#ssl = options.ssl;
    this.#read = options.read;
    this.#write = options.write;
    this.#user = options.user;
  }

  get state(): "handshaking" | "open" | "ended" {
    return this.#state;
  }

  /** Why it ended, if not by the will of either end. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Of a client that ended because it could not trust the server's certificate: why not. */
  get certificateProblem(): string | undefined {
    return this.#certificateProblem;
  }

  /** Undefined unless the session is open. */
  get security(): DtlsSecurity | undefined {
    if (this.#state !== "open") return undefined;
    const openSsl = this.#openSsl;
    return {
      protocol: openSsl.SSL_get_version(this.#ssl),
      cipher: openSsl.SSL_CIPHER_standard_name(openSsl.SSL_get_current_cipher(this.#ssl)),
      applicationProtocol: agreedProtocol(openSsl, this.#ssl),
    };
  }

  /** The other end's certificate (DER), if it showed one. Undefined unless the session is open. */
  get peerCertificate(): Uint8Array | undefined {
    if (this.#state !== "open") return undefined;
    const openSsl = this.#openSsl;
    const certificate = openSsl.SSL_get1_peer_certificate(this.#ssl);
    if (certificate === 0) return undefined;
    const bio = openSsl.BIO_new(openSsl.BIO_s_mem());
    try {
      openSsl.i2d_X509_bio(bio, certificate);
      const length = openSsl.BIO_read(bio, WRITE_SPACE, WRITE_SPACE.length);
      return length > 0 ? WRITE_SPACE.slice(0, length) : undefined;
    } finally {
      openSsl.BIO_free(bio);
      openSsl.X509_free(certificate);
    }
  }

  /** Goes on with the handshake: a client's first flight, or what a server has read already. */
  start(): void {
    if (this.#state === "ended") return;
    this.#openSsl.ERR_clear_error();
    this.#judge(this.#openSsl.SSL_do_handshake(this.#ssl));
    this.#flush();
    if (!this.#isEnded()) this.#deliver();
  }

  /** A datagram of the other end. */
  handleDatagram(datagram: Uint8Array): void {
    if (this.#state === "ended" || this.#isBusy) return;
    this.#openSsl.BIO_write(this.#read, datagram, datagram.length);
    this.#deliver();
  }

  /** Sends up to {@link MAX_DTLS_PAYLOAD} bytes as one record. False if that can't be done. */
  send(bytes: Uint8Array): boolean {
    if (this.#state !== "open" || bytes.length === 0 || bytes.length > MAX_DTLS_PAYLOAD) return false;
    this.#openSsl.ERR_clear_error();
    const written = this.#openSsl.SSL_write(this.#ssl, bytes, bytes.length);
    this.#flush();
    return written === bytes.length;
  }

  /** When the last flight must be sent again, in milliseconds from the call; undefined if none waits for an answer. */
  timeoutMs(): number | undefined {
    if (this.#state === "ended") return undefined;
    const isSet = this.#openSsl.SSL_ctrl(this.#ssl, C.DTLS_CTRL_GET_TIMEOUT, 0, TIME_SPACE) === 1;
    if (!isSet) return undefined;
    return Number(TIME_VIEW.getBigInt64(0, true)) * 1000 + Number(TIME_VIEW.getBigInt64(8, true)) / 1000;
  }

  /** Sends the last flight again if it is time. */
  handleTimeout(): void {
    if (this.#state === "ended") return;
    this.#openSsl.ERR_clear_error();
    const result = this.#openSsl.SSL_ctrl(this.#ssl, C.DTLS_CTRL_HANDLE_TIMEOUT, 0, null);
    this.#flush();
    if (result < 0) this.#end(takeOpenSslError(this.#openSsl));
  }

  /** Says goodbye, and frees what it holds. */
  close(): void {
    if (this.#state === "ended") return;
    if (this.#state === "open") {
      this.#openSsl.SSL_shutdown(this.#ssl);
      this.#flush();
    }
    this.#end(undefined);
  }

  #deliver(): void {
    const openSsl = this.#openSsl;
    this.#isBusy = true;
    for (;;) {
      openSsl.ERR_clear_error();
      const length = openSsl.SSL_read(this.#ssl, READ_SPACE, READ_SPACE.length);
      if (this.#state === "handshaking" && openSsl.SSL_is_init_finished(this.#ssl) === 1) this.#state = "open";
      if (length <= 0) {
        this.#judge(length);
        break;
      }
      // The receiver may answer, and by that use the spaces; or close this session.
      this.#user.receive(READ_SPACE.subarray(0, length));
      if (this.#isEnded()) break;
    }
    this.#isBusy = false;
    this.#flush();
  }

  #isEnded(): boolean {
    return this.#state === "ended";
  }

  #judge(result: number): void {
    if (this.#isEnded() || result > 0) return;
    const reason = this.#openSsl.SSL_get_error(this.#ssl, result);
    if (reason === C.SSL_ERROR_WANT_READ) return;
    if (reason === C.SSL_ERROR_ZERO_RETURN) {
      this.#flush();
      this.#end(undefined);
      return;
    }
    // An alert may say why.
    this.#flush();
    const error = takeOpenSslError(this.#openSsl);
    if (error.includes(CERTIFICATE_REFUSED)) {
      const why = this.#openSsl.SSL_get_verify_result(this.#ssl);
      if (why !== C.X509_V_OK) this.#certificateProblem = this.#openSsl.X509_verify_cert_error_string(why);
    }
    this.#end(error);
  }

  #flush(): void {
    if (this.#state === "ended") return;
    for (;;) {
      const length = this.#openSsl.BIO_read(this.#write, WRITE_SPACE, WRITE_SPACE.length);
      if (length <= 0) return;
      for (const datagram of splitIntoDatagrams(WRITE_SPACE.subarray(0, length), DTLS_HANDSHAKE_MTU)) {
        this.#user.send(datagram);
      }
    }
  }

  #end(error: string | undefined): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#error = error;
    // Frees both BIOs too.
    this.#openSsl.SSL_free(this.#ssl);
    this.#ssl = 0;
  }
}

import { createRequire } from "node:module";
import type * as Koffi from "koffi";

/**
 * The part of OpenSSL that DTLS needs, out of the node binary itself. Pointers are plain numbers: user space ends below
 * 2^47, so they are exact; 0 is NULL.
 */
export interface OpenSsl {
  readonly DTLS_server_method: () => number;
  readonly DTLS_client_method: () => number;
  readonly SSL_CTX_new: (method: number) => number;
  readonly SSL_CTX_free: (context: number) => void;
  readonly SSL_CTX_ctrl: (context: number, command: number, value: number, pointer: number) => number;
  readonly SSL_CTX_set_options: (context: number, options: number) => number;
  readonly SSL_CTX_set_cipher_list: (context: number, ciphers: string) => number;
  readonly SSL_CTX_use_certificate: (context: number, certificate: number) => number;
  readonly SSL_CTX_use_PrivateKey: (context: number, key: number) => number;
  readonly SSL_CTX_check_private_key: (context: number) => number;
  readonly SSL_CTX_get_cert_store: (context: number) => number;
  readonly SSL_CTX_set_cookie_generate_cb: (context: number, callback: unknown) => void;
  readonly SSL_CTX_set_cookie_verify_cb: (context: number, callback: unknown) => void;
  readonly SSL_CTX_set_alpn_select_cb: (context: number, callback: unknown, argument: number) => void;
  readonly SSL_new: (context: number) => number;
  readonly SSL_free: (ssl: number) => void;
  readonly SSL_set_bio: (ssl: number, read: number, write: number) => void;
  readonly SSL_set_accept_state: (ssl: number) => void;
  readonly SSL_set_connect_state: (ssl: number) => void;
  readonly SSL_set_verify: (ssl: number, mode: number, callback: number) => void;
  readonly SSL_get0_param: (ssl: number) => number;
  readonly SSL_set1_host: (ssl: number, name: string) => number;
  readonly X509_VERIFY_PARAM_set1_ip_asc: (parameters: number, address: string) => number;
  readonly SSL_ctrl: (ssl: number, command: number, value: number, pointer: Uint8Array | null) => number;
  /** 0 is success here. */
  readonly SSL_set_alpn_protos: (ssl: number, list: Uint8Array, length: number) => number;
  readonly SSL_get0_alpn_selected: (ssl: number, address: Uint8Array, length: Uint8Array) => void;
  readonly SSL_get_version: (ssl: number) => string;
  readonly SSL_get_current_cipher: (ssl: number) => number;
  readonly SSL_CIPHER_standard_name: (cipher: number) => string;
  readonly SSL_get1_peer_certificate: (ssl: number) => number;
  readonly SSL_get_verify_result: (ssl: number) => number;
  readonly X509_verify_cert_error_string: (result: number) => string;
  readonly SSL_do_handshake: (ssl: number) => number;
  readonly SSL_is_init_finished: (ssl: number) => number;
  readonly SSL_read: (ssl: number, into: Uint8Array, length: number) => number;
  readonly SSL_write: (ssl: number, bytes: Uint8Array, length: number) => number;
  readonly SSL_shutdown: (ssl: number) => number;
  readonly SSL_get_error: (ssl: number, result: number) => number;
  readonly DTLSv1_listen: (ssl: number, address: number) => number;
  readonly BIO_ADDR_new: () => number;
  readonly BIO_s_mem: () => number;
  readonly BIO_new: (method: number) => number;
  readonly BIO_free: (bio: number) => number;
  readonly BIO_read: (bio: number, into: Uint8Array, length: number) => number;
  readonly BIO_write: (bio: number, bytes: Uint8Array, length: number) => number;
  readonly BIO_ctrl: (bio: number, command: number, value: number, pointer: number) => number;
  readonly PEM_read_bio_X509: (bio: number, into: number, callback: number, user: number) => number;
  readonly PEM_read_bio_PrivateKey: (bio: number, into: number, callback: number, user: number) => number;
  readonly i2d_X509_bio: (bio: number, certificate: number) => number;
  readonly X509_free: (certificate: number) => void;
  readonly X509_STORE_add_cert: (store: number, certificate: number) => number;
  readonly EVP_PKEY_free: (key: number) => void;
  readonly ERR_get_error: () => number;
  readonly ERR_clear_error: () => void;
  readonly ERR_error_string_n: (code: number, into: Uint8Array, length: number) => void;
  /** Makes a C callback `int (SSL *, unsigned char *, unsigned int *)` of a function that gets the three addresses. */
  readonly createCallback: (call: (ssl: number, bytes: number, length: number) => number) => unknown;
  /** Makes a C callback of SSL_CTX_alpn_select_cb_func's type. */
  readonly createAlpnCallback: (call: SelectApplicationProtocol) => unknown;
  /** The bytes at an address, as long as what is there lives. */
  readonly viewOf: (address: number, length: number) => Uint8Array;
}

/** Gets addresses: where to put that of the choice, where its length, the client's list and how long that is. */
export type SelectApplicationProtocol = (
  ssl: number,
  chosen: number,
  chosenLength: number,
  offered: number,
  offeredLength: number,
) => number;

/** Why OpenSSL can't be reached, in words for a log line. */
export interface OpenSslUnavailable {
  readonly unavailable: string;
}

/** What {@link loadOpenSsl} goes by; an input, so that each refusal can be tested. */
export interface LoadOpenSslOptions {
  /** Loads the foreign function library. Default: the optional package koffi. */
  readonly loadKoffi?: () => typeof Koffi;
  /** File of the library. Default: null, the running program. */
  readonly library?: string | null;
}

const require = createRequire(import.meta.url);
let loaded: OpenSsl | OpenSslUnavailable | undefined;

/** Reaches the OpenSSL inside of the node binary, or says why that can't be done. */
export function loadOpenSsl(options: LoadOpenSslOptions = {}): OpenSsl | OpenSslUnavailable {
  if (options.loadKoffi !== undefined || options.library !== undefined) return load(options);
  loaded ??= load(options);
  return loaded;
}

/** The oldest error in OpenSSL's queue, in its words; the queue is empty afterwards. */
export function takeOpenSslError(openSsl: OpenSsl): string {
  const code = openSsl.ERR_get_error();
  openSsl.ERR_clear_error();
  if (code === 0) return "no reason given";
  const text = Buffer.alloc(256);
  openSsl.ERR_error_string_n(code, text, text.length);
  return text.toString("latin1", 0, text.indexOf(0));
}

function load(options: LoadOpenSslOptions): OpenSsl | OpenSslUnavailable {
  let koffi: typeof Koffi;
  try {
    koffi = (options.loadKoffi ?? requireKoffi)();
  } catch (error) {
    return { unavailable: `the optional package koffi cannot be loaded: ${messageOf(error)}` };
  }
  try {
    return bind(koffi, options.library ?? null);
  } catch (error) {
    return { unavailable: `this node binary doesn't show its OpenSSL: ${messageOf(error)}` };
  }
}

function requireKoffi(): typeof Koffi {
  return require("koffi");
}

function bind(koffi: typeof Koffi, library: string | null): OpenSsl {
  const c = koffi.load(library);
  const callback = koffi.pointer(koffi.proto("int (uintptr_t ssl, uintptr_t bytes, uintptr_t length)"));
  const alpnCallback = koffi.pointer(
    koffi.proto(
      "int (uintptr_t ssl, uintptr_t chosen, uintptr_t chosenLength, uintptr_t offered, unsigned int offeredLength, uintptr_t argument)",
    ),
  );
  return {
    DTLS_server_method: c.func("uintptr_t DTLS_server_method()"),
    DTLS_client_method: c.func("uintptr_t DTLS_client_method()"),
    SSL_CTX_new: c.func("uintptr_t SSL_CTX_new(uintptr_t)"),
    SSL_CTX_free: c.func("void SSL_CTX_free(uintptr_t)"),
    SSL_CTX_ctrl: c.func("long SSL_CTX_ctrl(uintptr_t, int, long, uintptr_t)"),
    SSL_CTX_set_options: c.func("uint64_t SSL_CTX_set_options(uintptr_t, uint64_t)"),
    SSL_CTX_set_cipher_list: c.func("int SSL_CTX_set_cipher_list(uintptr_t, const char *)"),
    SSL_CTX_use_certificate: c.func("int SSL_CTX_use_certificate(uintptr_t, uintptr_t)"),
    SSL_CTX_use_PrivateKey: c.func("int SSL_CTX_use_PrivateKey(uintptr_t, uintptr_t)"),
    SSL_CTX_check_private_key: c.func("int SSL_CTX_check_private_key(uintptr_t)"),
    SSL_CTX_get_cert_store: c.func("uintptr_t SSL_CTX_get_cert_store(uintptr_t)"),
    SSL_CTX_set_cookie_generate_cb: c.func("SSL_CTX_set_cookie_generate_cb", "void", ["uintptr_t", callback]),
    SSL_CTX_set_cookie_verify_cb: c.func("SSL_CTX_set_cookie_verify_cb", "void", ["uintptr_t", callback]),
    SSL_CTX_set_alpn_select_cb: c.func("SSL_CTX_set_alpn_select_cb", "void", ["uintptr_t", alpnCallback, "uintptr_t"]),
    SSL_new: c.func("uintptr_t SSL_new(uintptr_t)"),
    SSL_free: c.func("void SSL_free(uintptr_t)"),
    SSL_set_bio: c.func("void SSL_set_bio(uintptr_t, uintptr_t, uintptr_t)"),
    SSL_set_accept_state: c.func("void SSL_set_accept_state(uintptr_t)"),
    SSL_set_connect_state: c.func("void SSL_set_connect_state(uintptr_t)"),
    SSL_set_verify: c.func("void SSL_set_verify(uintptr_t, int, uintptr_t)"),
    SSL_get0_param: c.func("uintptr_t SSL_get0_param(uintptr_t)"),
    SSL_set1_host: c.func("int SSL_set1_host(uintptr_t, const char *)"),
    X509_VERIFY_PARAM_set1_ip_asc: c.func("int X509_VERIFY_PARAM_set1_ip_asc(uintptr_t, const char *)"),
    SSL_ctrl: c.func("long SSL_ctrl(uintptr_t, int, long, void *)"),
    SSL_set_alpn_protos: c.func("int SSL_set_alpn_protos(uintptr_t, const void *, unsigned int)"),
    SSL_get0_alpn_selected: c.func("void SSL_get0_alpn_selected(uintptr_t, void *, void *)"),
    SSL_get_version: c.func("const char *SSL_get_version(uintptr_t)"),
    SSL_get_current_cipher: c.func("uintptr_t SSL_get_current_cipher(uintptr_t)"),
    SSL_CIPHER_standard_name: c.func("const char *SSL_CIPHER_standard_name(uintptr_t)"),
    SSL_get1_peer_certificate: c.func("uintptr_t SSL_get1_peer_certificate(uintptr_t)"),
    SSL_get_verify_result: c.func("long SSL_get_verify_result(uintptr_t)"),
    X509_verify_cert_error_string: c.func("const char *X509_verify_cert_error_string(long)"),
    SSL_do_handshake: c.func("int SSL_do_handshake(uintptr_t)"),
    SSL_is_init_finished: c.func("int SSL_is_init_finished(uintptr_t)"),
    SSL_read: c.func("int SSL_read(uintptr_t, void *, int)"),
    SSL_write: c.func("int SSL_write(uintptr_t, void *, int)"),
    SSL_shutdown: c.func("int SSL_shutdown(uintptr_t)"),
    SSL_get_error: c.func("int SSL_get_error(uintptr_t, int)"),
    DTLSv1_listen: c.func("int DTLSv1_listen(uintptr_t, uintptr_t)"),
    BIO_ADDR_new: c.func("uintptr_t BIO_ADDR_new()"),
    BIO_s_mem: c.func("uintptr_t BIO_s_mem()"),
    BIO_new: c.func("uintptr_t BIO_new(uintptr_t)"),
    BIO_free: c.func("int BIO_free(uintptr_t)"),
    BIO_read: c.func("int BIO_read(uintptr_t, void *, int)"),
    BIO_write: c.func("int BIO_write(uintptr_t, void *, int)"),
    BIO_ctrl: c.func("long BIO_ctrl(uintptr_t, int, long, uintptr_t)"),
    PEM_read_bio_X509: c.func("uintptr_t PEM_read_bio_X509(uintptr_t, uintptr_t, uintptr_t, uintptr_t)"),
    PEM_read_bio_PrivateKey: c.func("uintptr_t PEM_read_bio_PrivateKey(uintptr_t, uintptr_t, uintptr_t, uintptr_t)"),
    i2d_X509_bio: c.func("int i2d_X509_bio(uintptr_t, uintptr_t)"),
    X509_free: c.func("void X509_free(uintptr_t)"),
    X509_STORE_add_cert: c.func("int X509_STORE_add_cert(uintptr_t, uintptr_t)"),
    EVP_PKEY_free: c.func("void EVP_PKEY_free(uintptr_t)"),
    ERR_get_error: c.func("unsigned long ERR_get_error()"),
    ERR_clear_error: c.func("void ERR_clear_error()"),
    ERR_error_string_n: c.func("void ERR_error_string_n(unsigned long, void *, uintptr_t)"),
    createCallback: (call) => koffi.register(call, callback),
    createAlpnCallback: (call) => koffi.register(call, alpnCallback),
    viewOf: (address, length) => new Uint8Array(koffi.view(BigInt(address), length)),
  };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error);
}

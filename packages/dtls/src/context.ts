import * as C from "./constants.ts";
import { type OpenSsl, takeOpenSslError } from "./openssl.ts";

/** Of TLS 1.2: forward secrecy and AEAD. */
const CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20";

/** An `SSL_CTX` for DTLS 1.2, without renegotiation. @throws Error if OpenSSL refuses. */
export function createContext(openSsl: OpenSsl, method: number): number {
  const context = openSsl.SSL_CTX_new(method);
  if (context === 0) throw new Error(`Cannot use DTLS: ${takeOpenSslError(openSsl)}`);
  openSsl.SSL_CTX_ctrl(context, C.SSL_CTRL_SET_MIN_PROTO_VERSION, C.DTLS1_2_VERSION, 0);
  openSsl.SSL_CTX_ctrl(context, C.SSL_CTRL_SET_SESS_CACHE_MODE, 0, 0);
  openSsl.SSL_CTX_ctrl(context, C.SSL_CTRL_MODE, C.SSL_MODE_RELEASE_BUFFERS, 0);
  openSsl.SSL_CTX_set_options(context, C.SSL_OP_NO_QUERY_MTU | C.SSL_OP_NO_RENEGOTIATION);
  if (openSsl.SSL_CTX_set_cipher_list(context, CIPHERS) !== 1) {
    openSsl.SSL_CTX_free(context);
    throw new Error(`Cannot use DTLS: ${takeOpenSslError(openSsl)}`);
  }
  return context;
}

/** Gives a context its certificate chain and key, both PEM. @throws TypeError if they can't be used. */
export function useCertificate(openSsl: OpenSsl, context: number, cert: Uint8Array, key: Uint8Array): void {
  const [own, ...chain] = readCertificates(openSsl, cert);
  const isUsed = own !== undefined && openSsl.SSL_CTX_use_certificate(context, own) === 1;
  if (own !== undefined) openSsl.X509_free(own);
  // The context owns the certificates of its chain.
  for (const each of chain) openSsl.SSL_CTX_ctrl(context, C.SSL_CTRL_EXTRA_CHAIN_CERT, 0, each);
  const privateKey = withPem(openSsl, key, (bio) => openSsl.PEM_read_bio_PrivateKey(bio, 0, 0, 0));
  const isKeyUsed = privateKey !== 0 && openSsl.SSL_CTX_use_PrivateKey(context, privateKey) === 1;
  if (privateKey !== 0) openSsl.EVP_PKEY_free(privateKey);
  if (!isUsed || !isKeyUsed || openSsl.SSL_CTX_check_private_key(context) !== 1) {
    throw new TypeError(`Cannot use the certificate for DTLS: ${takeOpenSslError(openSsl)}`);
  }
}

/** Trusts what these PEM certificates sign. @throws TypeError if there is none. */
export function trustCertificates(openSsl: OpenSsl, context: number, authorities: readonly Uint8Array[]): void {
  const store = openSsl.SSL_CTX_get_cert_store(context);
  const trusted = authorities.flatMap((pem) => readCertificates(openSsl, pem));
  for (const certificate of trusted) {
    openSsl.X509_STORE_add_cert(store, certificate);
    openSsl.X509_free(certificate);
  }
  openSsl.ERR_clear_error();
  if (trusted.length === 0) throw new TypeError("Cannot use DTLS: there is no certificate authority to trust");
}

function readCertificates(openSsl: OpenSsl, pem: Uint8Array): number[] {
  return withPem(openSsl, pem, (bio) => {
    const found: number[] = [];
    for (let next = read(bio); next !== 0; next = read(bio)) found.push(next);
    // The end of the file is an error to OpenSSL.
    if (found.length > 0) openSsl.ERR_clear_error();
    return found;
  });
  function read(bio: number): number {
    return openSsl.PEM_read_bio_X509(bio, 0, 0, 0);
  }
}

function withPem<T>(openSsl: OpenSsl, pem: Uint8Array, use: (bio: number) => T): T {
  const bio = openSsl.BIO_new(openSsl.BIO_s_mem());
  try {
    openSsl.BIO_write(bio, pem, pem.length);
    return use(bio);
  } finally {
    openSsl.BIO_free(bio);
  }
}

import { isIP } from "node:net";
import * as tls from "node:tls";
import { encodeProtocolNames } from "./alpn.ts";
import * as C from "./constants.ts";
import { createContext, trustCertificates } from "./context.ts";
import type { OpenSsl } from "./openssl.ts";
import { DTLS_HANDSHAKE_MTU, DtlsSession, type DtlsSessionUser } from "./session.ts";

/** What {@link connectDtls} takes. */
export interface DtlsClientOptions {
  readonly openSsl: OpenSsl;
  /** The server's name or IP address, which its certificate must have. */
  readonly host: string;
  /** PEM certificates whose signature is trusted. Default: those that Node trusts. */
  readonly ca?: readonly Uint8Array[];
  /** False: any certificate is taken, so that anybody in between can read. Default true. */
  readonly rejectUnauthorized?: boolean;
  /** Application protocols to offer (RFC 7301), best first. Default: none. */
  readonly applicationProtocols?: readonly string[];
  readonly user: DtlsSessionUser;
}

/**
 * Begins an association as its client: the first flight is sent before the call returns.
 *
 * @throws TypeError if there is no certificate authority to trust, or an application protocol has no name.
 */
export function connectDtls(options: DtlsClientOptions): DtlsSession {
  const { openSsl, host, user, applicationProtocols = [] } = options;
  const protocols = encodeProtocolNames(applicationProtocols);
  const context = createContext(openSsl, openSsl.DTLS_client_method());
  const isVerifying = options.rejectUnauthorized !== false;
  try {
    if (isVerifying) {
      trustCertificates(openSsl, context, options.ca ?? trustedByNode());
    }
    const ssl = openSsl.SSL_new(context);
    const read = openSsl.BIO_new(openSsl.BIO_s_mem());
    const write = openSsl.BIO_new(openSsl.BIO_s_mem());
    openSsl.SSL_set_bio(ssl, read, write);
    openSsl.SSL_ctrl(ssl, C.SSL_CTRL_SET_MTU, DTLS_HANDSHAKE_MTU, null);
    if (isIP(host) === 0) {
      const name = Buffer.from(`${host}\0`, "latin1");
      openSsl.SSL_ctrl(ssl, C.SSL_CTRL_SET_TLSEXT_HOSTNAME, C.TLSEXT_NAMETYPE_HOST_NAME, name);
      openSsl.SSL_set1_host(ssl, host);
    } else {
      openSsl.X509_VERIFY_PARAM_set1_ip_asc(openSsl.SSL_get0_param(ssl), host);
    }
    if (protocols.length > 0) openSsl.SSL_set_alpn_protos(ssl, protocols, protocols.length);
    openSsl.SSL_set_verify(ssl, isVerifying ? C.SSL_VERIFY_PEER : C.SSL_VERIFY_NONE, 0);
    openSsl.SSL_set_connect_state(ssl);
    const session = new DtlsSession({ openSsl, ssl, read, write, user });
    session.start();
    return session;
  } finally {
    // The session holds on to it.
    openSsl.SSL_CTX_free(context);
  }
}

/** The authorities of `node:tls`. Before Node 22.15 it doesn't tell those of NODE_EXTRA_CA_CERTS. */
function trustedByNode(): readonly Uint8Array[] {
  const tell: typeof tls.getCACertificates | undefined = tls.getCACertificates;
  const pems = tell === undefined ? tls.rootCertificates : tell("default");
  return pems.map((pem) => Buffer.from(pem));
}

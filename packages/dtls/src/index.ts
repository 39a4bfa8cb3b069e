export { connectDtls, type DtlsClientOptions } from "./client.ts";
export { loadOpenSsl, type LoadOpenSslOptions, type OpenSsl, type OpenSslUnavailable } from "./openssl.ts";
export { isClientHello } from "./records.ts";
export { DtlsServer, type DtlsServerOptions } from "./server.ts";
export { type DtlsSecurity, DtlsSession, type DtlsSessionUser, MAX_DTLS_PAYLOAD } from "./session.ts";

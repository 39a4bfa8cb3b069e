export type { LdapGroupSearch, LdapUserSearch, LdapVerifierOptions } from "./ldap-options.ts";
export { LdapVerifier } from "./ldap-verifier.ts";

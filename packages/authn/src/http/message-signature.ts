import { createHash, createHmac, type KeyObject, sign, timingSafeEqual, verify } from "node:crypto";
import {
  type InnerList,
  type Item,
  parseDictionary,
  serializeDictionary,
  serializeInnerList,
  serializeString,
} from "structured-headers";
import { headerValue, type HttpRequest, pathOf } from "./request.ts";

/** The algorithms of RFC 9421 §3.3 that are spoken here. */
export type SignatureAlgorithm = "ed25519" | "hmac-sha256";

/** The parameters of a signature (RFC 9421 §2.3). Times are in seconds since 1970. */
export interface SignatureParameters {
  readonly created?: number;
  readonly expires?: number;
  readonly nonce?: string;
  readonly alg?: string;
  readonly keyid?: string;
  readonly tag?: string;
}

/** A signature as it came, parsed and not yet verified. */
export interface MessageSignature {
  readonly label: string;
  /** The covered components by name, in their order; `@query-param` ones as `@query-param;NAME`. */
  readonly components: readonly string[];
  readonly parameters: SignatureParameters;
  readonly signature: Uint8Array;
  /** What was signed. */
  readonly base: string;
}

const MAX_FIELD_LENGTH = 8_192;
const MAX_COMPONENTS = 32;

/**
 * The signatures of a request by `Signature-Input` and `Signature` (RFC 9421 §4): none if it has neither field, a text
 * that says what is wrong if it can't be parsed or covers what isn't there. At most `maxSignatures` are looked at.
 */
export function parseSignatures(
  request: HttpRequest,
  { maxSignatures }: { readonly maxSignatures: number },
): readonly MessageSignature[] | string {
  const input = headerValue(request, "signature-input");
  const field = headerValue(request, "signature");
  if (input === undefined && field === undefined) return [];
  if (input === undefined) return "the field Signature-Input is missing";
  if (field === undefined) return "the field Signature is missing";
  if (input.length > MAX_FIELD_LENGTH || field.length > MAX_FIELD_LENGTH) return "the signature fields are too long";
  let inputs: Map<string, Item | InnerList>;
  let signatures: Map<string, Item | InnerList>;
  try {
    inputs = parseDictionary(input);
    signatures = parseDictionary(field);
  } catch {
    return "the signature fields are not structured fields (RFC 9651)";
  }
  if (inputs.size > maxSignatures) return `the request has more than ${maxSignatures} signatures`;
  const parsed: MessageSignature[] = [];
  for (const [label, member] of inputs) {
    const value = signatures.get(label)?.[0];
    if (!(value instanceof ArrayBuffer)) return `the signature "${label}" is missing`;
    const one = parseSignature(request, { label, member, signature: new Uint8Array(value) });
    if (typeof one === "string") return one;
    parsed.push(one);
  }
  return parsed;
}

/** Whether the signature was made with this key. The comparison of HMACs takes constant time. */
export function verifySignature(
  { base, signature }: Pick<MessageSignature, "base" | "signature">,
  { algorithm, key }: { readonly algorithm: SignatureAlgorithm; readonly key: KeyObject },
): boolean {
  if (algorithm === "ed25519") return verify(null, Buffer.from(base), key, signature);
  const expected = createHmac("sha256", key).update(base).digest();
  return expected.length === signature.length && timingSafeEqual(expected, signature);
}

/** How a request is to be signed. */
export interface SignOptions {
  readonly algorithm: SignatureAlgorithm;
  /** An Ed25519 private key or a shared secret. */
  readonly key: KeyObject;
  /** Names of the covered components, in their order. */
  readonly components: readonly string[];
  readonly parameters: SignatureParameters;
  /** Default `sig`. */
  readonly label?: string;
}

/**
 * Signs a request: the values of `Signature-Input` and `Signature`. Cover `content-digest` (by {@link contentDigest})
 * if it has a body.
 *
 * @throws TypeError if a component isn't in the request
 */
export function signRequest(
  request: HttpRequest,
  { algorithm, key, components, parameters, label = "sig" }: SignOptions,
): { readonly "signature-input": string; readonly signature: string } {
  const list: InnerList = [
    components.map((name): Item => {
      const [component = "", parameter] = name.split(";");
      return [component, parameter === undefined ? new Map() : new Map([["name", parameter]])];
    }),
    new Map(Object.entries(parameters).filter((entry): entry is [string, string | number] => entry[1] !== undefined)),
  ];
  const base = signatureBase(request, list);
  if (typeof base !== "object") throw new TypeError(`Cannot sign the request: ${base}`);
  const bytes = Buffer.from(base.text);
  const signature = algorithm === "ed25519" ? sign(null, bytes, key) : createHmac("sha256", key).update(bytes).digest();
  return {
    "signature-input": serializeDictionary(new Map([[label, list]])),
    signature: serializeDictionary(new Map([[label, [Uint8Array.from(signature), new Map()]]])),
  };
}

/** The value of `Content-Digest` (RFC 9530 §2) by SHA-256. */
export function contentDigest(body: Uint8Array): string {
  return `sha-256=:${createHash("sha256").update(body).digest("base64")}:`;
}

/** Whether `Content-Digest` has a SHA-256 or SHA-512 digest of this body, and no wrong one of either. */
export function matchesContentDigest(field: string, body: Uint8Array): boolean {
  let digests: Map<string, Item | InnerList>;
  try {
    digests = parseDictionary(field);
  } catch {
    return false;
  }
  const checks = (["sha-256", "sha-512"] as const).flatMap((name) => {
    const value = digests.get(name)?.[0];
    if (value === undefined) return [];
    const expected = createHash(name.replace("-", "")).update(body).digest();
    return [value instanceof ArrayBuffer && expected.equals(new Uint8Array(value))];
  });
  return checks.length > 0 && checks.every(Boolean);
}

function parseSignature(
  request: HttpRequest,
  { label, member, signature }: { label: string; member: Item | InnerList; signature: Uint8Array },
): MessageSignature | string {
  if (!isInnerList(member)) return `the signature input "${label}" is not a list of components`;
  const parameters = parametersOf(member);
  if (typeof parameters === "string") return parameters;
  const base = signatureBase(request, member);
  if (typeof base === "string") return base;
  return { label, components: base.components, parameters, signature, base: base.text };
}

function isInnerList(member: Item | InnerList): member is InnerList {
  return Array.isArray(member[0]);
}

function parametersOf([, map]: InnerList): SignatureParameters | string {
  const parameters: Record<string, string | number> = {};
  for (const [name, value] of map) {
    switch (name) {
      case "created":
      case "expires":
        if (typeof value !== "number" || !Number.isInteger(value)) return `the parameter ${name} is not a whole number`;
        parameters[name] = value;
        break;
      case "nonce":
      case "alg":
      case "keyid":
      case "tag":
        if (typeof value !== "string") return `the parameter ${name} is not a string`;
        parameters[name] = value;
        break;
      default:
        // RFC 9421 §2.3 leaves room for others; they are covered by the signature and mean nothing here.
        break;
    }
  }
  return parameters;
}

/** RFC 9421 §2.5: a line for each component, then the signature's own parameters. */
function signatureBase(
  request: HttpRequest,
  list: InnerList,
): { readonly text: string; readonly components: readonly string[] } | string {
  const [items] = list;
  if (items.length > MAX_COMPONENTS) return `the signature covers more than ${MAX_COMPONENTS} components`;
  const lines = new Map<string, string>();
  const components: string[] = [];
  for (const [name, parameters] of items) {
    if (typeof name !== "string") return "a covered component is not a string";
    const queryName = parameters.get("name");
    const known =
      name === "@query-param" ? parameters.size === 1 && typeof queryName === "string" : parameters.size === 0;
    // RFC 9421 §2.5 step 2.5: what isn't understood must not be passed over.
    if (!known) return `the component "${name}" has parameters that are not supported`;
    const identifier =
      typeof queryName === "string"
        ? `${serializeString(name)};name=${serializeString(queryName)}`
        : serializeString(name);
    if (lines.has(identifier)) return `the component "${name}" is covered twice`;
    const value = name.startsWith("@") ? derived(request, name, queryName) : fieldValue(request, name);
    if (value === undefined) return `the covered component "${name}" is not in the request`;
    lines.set(identifier, value);
    components.push(typeof queryName === "string" ? `${name};${queryName}` : name);
  }
  const text = [...lines].map(([identifier, value]) => `${identifier}: ${value}\n`).join("");
  return { text: `${text}"@signature-params": ${serializeInnerList(list)}`, components };
}

/** RFC 9421 §2.1: each value trimmed, folds made one space, several joined. */
function fieldValue(request: HttpRequest, name: string): string | undefined {
  if (name !== name.toLowerCase()) return undefined;
  const value = request.headers[name];
  if (value === undefined) return undefined;
  const values = typeof value === "string" ? [value] : value;
  return values.map((each) => each.trim().replaceAll(/\s*[\r\n]+\s*/g, " ")).join(", ");
}

/** RFC 9421 §2.2. */
function derived(request: HttpRequest, name: string, queryName: unknown): string | undefined {
  const question = request.target.indexOf("?");
  const query = question === -1 ? "" : request.target.slice(question + 1);
  switch (name) {
    case "@method":
      return request.method;
    case "@target-uri":
      return `${request.protocol}://${request.authority}${request.target}`;
    case "@authority":
      return request.authority;
    case "@scheme":
      return request.protocol;
    case "@request-target":
      return request.target;
    case "@path":
      return pathOf(request) || "/";
    case "@query":
      return `?${query}`;
    case "@query-param":
      return typeof queryName === "string" ? queryParameter(query, queryName) : undefined;
    default:
      return undefined;
  }
}

/** RFC 9421 §2.2.8: decoded, encoded again, and only if the name occurs once. */
function queryParameter(query: string, name: string): string | undefined {
  const values = [...new URLSearchParams(query)]
    .filter(([each]) => encodeQueryPart(each) === name)
    .map(([, value]) => value);
  const [only] = values;
  return values.length === 1 && only !== undefined ? encodeQueryPart(only) : undefined;
}

/** The percent-encoding of URLs' queries, where encodeURIComponent leaves a few signs that form encoding doesn't. */
function encodeQueryPart(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()~]/g, (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`);
}

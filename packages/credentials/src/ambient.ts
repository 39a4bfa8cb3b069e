/**
 * The globals of the runtime that this room uses: nothing else. They are read here, when a call needs them, and can be
 * replaced in the options of every function. Browsers, their workers, Node from 22.13 and Deno have all of them.
 */
export interface AmbientGlobals<Signal = never> {
  readonly crypto: {
    getRandomValues(bytes: Uint8Array<ArrayBuffer>): unknown;
    readonly subtle: {
      importKey(
        format: "raw",
        keyData: Uint8Array<ArrayBuffer>,
        algorithm: { readonly name: "HMAC"; readonly hash: "SHA-1" | "SHA-256" },
        extractable: false,
        keyUsages: "sign"[],
      ): Promise<unknown>;
      sign(algorithm: "HMAC", key: unknown, data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
      digest(algorithm: "SHA-256", data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
    };
  };
  readonly TextEncoder: new () => { encode(text: string): Uint8Array };
  readonly AbortController: new () => {
    readonly signal: Signal;
    abort(reason?: unknown): void;
  };
  btoa(binary: string): string;
  fetch(input: string, init: FetchInit<Signal>): Promise<FetchResponse>;
  setTimeout(callback: () => void, delayMs: number): unknown;
  clearTimeout(timer: unknown): void;
  readonly Date: { now(): number; parse(text: string): number };
}

/** What `refreshIceServers` passes to `fetch`. `Signal` is the runtime's `AbortSignal`. */
export interface FetchInit<Signal = never> {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly credentials?: "omit" | "same-origin" | "include";
  readonly cache: "no-store";
  readonly signal: Signal;
}

/** What `refreshIceServers` needs of a `Response`. */
export interface FetchResponse {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  json(): Promise<unknown>;
}

/** The runtime's globals, as this room types them. */
// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- a type test holds it against each runtime's declarations
export const ambient: AmbientGlobals = globalThis as unknown as AmbientGlobals;

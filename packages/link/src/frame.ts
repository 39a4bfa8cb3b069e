/** The serializers of Phoenix: `1.0.0` writes objects, `2.0.0` arrays of five. A socket names its own as `vsn`. */
export type SerializerVersion = "1.0.0" | "2.0.0";

/** One message of a channel. */
export interface Frame {
  /** The `ref` of the join that this belongs to. Serializer 1.0.0 leaves it out for most messages. */
  readonly joinRef?: string;
  /** Ties a reply to its request. Numbers on the wire are read as their decimal digits. */
  readonly ref?: string;
  readonly topic: string;
  readonly event: string;
  /** An object, as Phoenix has it. */
  readonly payload: Readonly<Record<string, unknown>>;
}

/** Why a frame can't be read. */
export interface FrameError {
  readonly code: "tooLong" | "notJson" | "badShape";
  /** What is wrong; repeats nothing of the frame. */
  readonly message: string;
}

/** A frame that was read, or why not. */
export type DecodedFrame =
  | { readonly ok: true; readonly frame: Frame }
  | { readonly ok: false; readonly error: FrameError };

/** The longest frame that either end reads, in characters: a thousand revocations, or a hundred events. */
export const MAX_FRAME_LENGTH = 1_048_576;

const MAX_NAME_LENGTH = 256;

/** The serializer of a `vsn` parameter; without one it is 1.0.0, as Phoenix has it. `undefined` for any other. */
export function serializerVersion(vsn: string | undefined): SerializerVersion | undefined {
  if (vsn === undefined) return "1.0.0";
  return vsn === "1.0.0" || vsn === "2.0.0" ? vsn : undefined;
}

/**
 * Writes a frame. Serializer 1.0.0 has references of digits as numbers, as relays send them there; 2.0.0 has them as
 * text, as Phoenix's own client does.
 */
export function encodeFrame(version: SerializerVersion, frame: Frame): string {
  const { topic, event, payload } = frame;
  if (version === "2.0.0") return JSON.stringify([frame.joinRef ?? null, frame.ref ?? null, topic, event, payload]);
  const joinRef = frame.joinRef === undefined ? {} : { join_ref: numeric(frame.joinRef) };
  return JSON.stringify({ topic, event, payload, ref: numeric(frame.ref), ...joinRef });
}

/** Reads a frame of the other end. What can't be read is an error value. */
export function decodeFrame(version: SerializerVersion, text: string): DecodedFrame {
  if (text.length > MAX_FRAME_LENGTH) {
    return failed("tooLong", `the frame has more than ${String(MAX_FRAME_LENGTH)} characters`);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return failed("notJson", "the frame is not JSON");
  }
  return version === "2.0.0" ? fromArray(value) : fromObject(value);
}

function fromObject(value: unknown): DecodedFrame {
  if (!isRecord(value)) return failed("badShape", "the frame is not an object");
  return build(value["join_ref"], value["ref"], value["topic"], value["event"], value["payload"]);
}

function fromArray(value: unknown): DecodedFrame {
  if (!Array.isArray(value) || value.length !== 5) return failed("badShape", "the frame is not an array of five");
  const parts: readonly unknown[] = value;
  return build(parts[0], parts[1], parts[2], parts[3], parts[4]);
}

function build(joinRef: unknown, ref: unknown, topic: unknown, event: unknown, payload: unknown): DecodedFrame {
  if (!isName(topic)) return failed("badShape", "the topic is not a short text");
  if (!isName(event)) return failed("badShape", "the event is not a short text");
  if (payload !== undefined && payload !== null && !isRecord(payload)) {
    return failed("badShape", "the payload is not an object");
  }
  const refs = [joinRef, ref].map(referenceOf);
  if (refs.includes("bad")) return failed("badShape", "a reference is neither a number nor a short text");
  return {
    ok: true,
    frame: {
      ...(typeof joinRef === "string" || typeof joinRef === "number" ? { joinRef: String(joinRef) } : {}),
      ...(typeof ref === "string" || typeof ref === "number" ? { ref: String(ref) } : {}),
      topic,
      event,
      payload: payload ?? {},
    },
  };
}

function referenceOf(value: unknown): "good" | "bad" {
  if (value === undefined || value === null) return "good";
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? "good" : "bad";
  return isName(value) ? "good" : "bad";
}

function isName(value: unknown): value is string {
  return typeof value === "string" && value.length > 0 && value.length <= MAX_NAME_LENGTH;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function numeric(ref: string | undefined): number | string | null {
  if (ref === undefined) return null;
  return /^(?:0|[1-9][0-9]{0,14})$/.test(ref) ? Number(ref) : ref;
}

function failed(code: FrameError["code"], message: string): DecodedFrame {
  return { ok: false, error: { code, message } };
}

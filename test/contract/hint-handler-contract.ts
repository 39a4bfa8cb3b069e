import { Duplex } from "node:stream";
import { Connector, type ConnectorOptions, type Dialer, type DialTarget } from "@turnpike/hints";
import { describe, expect, it } from "vitest";

/** What {@link hintHandlerContract} needs to know of a handler. */
export interface HandlerUnderContract {
  readonly type: string;
  /** A hint that it takes, reached over one dial. */
  readonly hint: string;
  /** Rests that it must refuse. */
  readonly malformed: readonly string[];
  /** True if it speaks with the peer before the stream is the caller's. */
  readonly negotiates: boolean;
  readonly options?: ConnectorOptions;
}

/** What every handler of hints must do, whoever wrote it. */
export function hintHandlerContract(handler: HandlerUnderContract): void {
  const { type, hint, malformed, negotiates } = handler;

  /** A connector whose one dial gives a stream that `behave` is the far side of. */
  function setUp(behave: (far: SilentStream) => void, dial?: Dialer["dial"]) {
    const dialled: DialTarget[] = [];
    const streams: SilentStream[] = [];
    const connector = new Connector({
      policy: { unixSockets: true },
      ...handler.options,
      resolver: { resolve: () => Promise.reject(new Error("no names here")) },
      dialer: {
        dial(target, options) {
          dialled.push(target);
          if (dial !== undefined) return dial(target, options);
          const stream = new SilentStream();
          streams.push(stream);
          behave(stream);
          return Promise.resolve(stream);
        },
      },
    });
    return { connector, dialled, streams };
  }

  describe(`the handler of ${type}:`, () => {
    it.each(malformed)("refuses %j and dials nothing", async (rest) => {
      const { connector, dialled } = setUp(() => undefined);
      const connecting = connector.connect({ hints: [`${type}:${rest}`] });
      await expect(connecting).rejects.toMatchObject({ cause: { name: "InvalidHintError" } });
      expect(dialled).toEqual([]);
      await connector.close();
    });

    it("stops dialling when it is aborted, and closes what is dialled too late", async () => {
      const late = Promise.withResolvers<Duplex>();
      const began = Promise.withResolvers<void>();
      const { connector } = setUp(
        () => undefined,
        () => {
          began.resolve();
          return late.promise;
        },
      );
      const scope = new AbortController();
      const connecting = connector.connect({ hints: [hint], signal: scope.signal });
      await began.promise;
      scope.abort(new Error("enough"));
      await expect(connecting).rejects.toMatchObject({ code: "stopped" });
      const stream = new SilentStream();
      const closed = new Promise((resolve) => stream.once("close", resolve));
      const closing = connector.close();
      late.resolve(stream);
      await Promise.all([closed, closing]);
    });

    if (!negotiates) return;

    it("closes its stream when it is aborted before the peer has answered", async () => {
      const spoken = Promise.withResolvers<void>();
      const { connector, streams } = setUp((far) => far.once("spoken", () => spoken.resolve()));
      const scope = new AbortController();
      const connecting = connector.connect({ hints: [hint], signal: scope.signal });
      await spoken.promise;
      scope.abort(new Error("enough"));
      await expect(connecting).rejects.toMatchObject({ code: "stopped" });
      await connector.close();
      await Promise.all(streams.map((stream) => stream.gone));
    });

    it("fails and closes when the peer hangs up, or answers rubbish", async () => {
      for (const behave of [
        (far: SilentStream) => far.once("spoken", () => far.push(null)),
        (far: SilentStream) => far.once("spoken", () => far.push("rubbish\r\n\r\n")),
      ]) {
        const { connector, streams } = setUp(behave);
        await expect(connector.connect({ hints: [hint] })).rejects.toMatchObject({ code: "all-failed" });
        await Promise.all(streams.map((stream) => stream.gone));
        await connector.close();
      }
    });
  });
}

/** A stream whose peer says nothing by itself; emits `spoken` when something is written. */
class SilentStream extends Duplex {
  readonly gone: Promise<unknown> = new Promise((resolve) => this.once("close", resolve));

  constructor() {
    super({ allowHalfOpen: true });
    this.on("error", () => undefined);
  }

  override _read(): void {
    // Nothing comes unless a test pushes it.
  }

  override _write(_chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    done();
    this.emit("spoken");
  }
}

import { parseUri, TurnClientError, UriError, type CredentialOptions, type TlsClientOptions } from "@turnpike/client";
import { InvalidArgumentError, Option, type Command } from "commander";
import { CommandError } from "../errors.ts";
import { reasonOf } from "../options.ts";
import { isReference } from "../wiring/reveal.ts";
import type { World } from "../world.ts";

/** Flags of the commands that are clients. */
export interface ClientFlags {
  readonly username?: string;
  readonly credential?: string;
  readonly credentialFile?: string;
  readonly ca?: string;
  readonly pin?: readonly string[];
  readonly json?: true;
}

/** Adds the URIs and the flags that say who asks and whom to trust. */
export function addClientFlags(command: Command, options: { readonly references?: boolean } = {}): Command {
  const isMeant = options.references === true ? isReference : (): boolean => false;
  const servers = "servers, such as turn:relay.example or turns:relay.example?transport=tcp";
  return command
    .argument(
      "<URI...>",
      options.references === true ? `${servers}, or references of relays` : servers,
      (text: string, previous: readonly string[] | undefined) =>
        isMeant(text) ? collect(text, previous) : collectUri(text, previous),
    )
    .addOption(new Option("--username <NAME>", "user name").env("TURNPIKE_USERNAME"))
    .addOption(
      new Option("--credential <TEXT>", "its credential; others on this machine may see it among the processes").env(
        "TURNPIKE_CREDENTIAL",
      ),
    )
    .option("--credential-file <FILE>", "file with the credential in its first line")
    .option("--ca <FILE>", "certificates to trust in place of the system's (PEM)")
    .option("--pin <SHA256>", "SHA-256 of the server's public key in Base64 (repeatable)", collect)
    .option("--json", "print JSON for programs");
}

/** @throws CommandError */
export function credentialsOf(flags: ClientFlags, world: World): CredentialOptions {
  const { username, credentialFile } = flags;
  const [line = ""] =
    credentialFile === undefined ? [] : read(credentialFile, "--credential-file", world).split(/\r?\n/u);
  const credential = credentialFile === undefined ? flags.credential : line;
  if (username === undefined && credential === undefined) return {};
  if (username === undefined || credential === undefined) {
    throw new CommandError("--username and --credential (or --credential-file) go together", { exitCode: 2 });
  }
  return { username, credential };
}

/** @throws CommandError */
export function trustOf(flags: ClientFlags, world: World): TlsClientOptions {
  return {
    ...(flags.ca === undefined ? {} : { ca: read(flags.ca, "--ca", world) }),
    ...(flags.pin === undefined ? {} : { pins: flags.pin }),
  };
}

/** Runs something until it ends, or until SIGINT or SIGTERM. @throws CommandError */
export async function untilStopped<T>(world: World, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stopListening = world.onStopSignal((signal) => {
    controller.abort(new CommandError(`stopped by ${signal}`, { exitCode: 1 }));
  });
  try {
    return await run(controller.signal);
  } catch (error) {
    if (error instanceof TurnClientError) throw new CommandError(error.message, { exitCode: 1, cause: error });
    if (error instanceof TypeError || error instanceof RangeError) {
      throw new CommandError(error.message, { exitCode: 2, cause: error });
    }
    throw error;
  } finally {
    stopListening();
  }
}

/** Reads a number, which the library checks for its range. */
export function number(text: string): number {
  const value = text.trim() === "" ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError("Use a number.");
  return value;
}

function collectUri(text: string, previous: readonly string[] | undefined): readonly string[] {
  try {
    parseUri(text);
  } catch (error) {
    if (error instanceof UriError) throw new InvalidArgumentError(error.message);
    throw error;
  }
  return [...(previous ?? []), text];
}

function collect(text: string, previous: readonly string[] | undefined): readonly string[] {
  return [...(previous ?? []), text];
}

function read(file: string, flag: string, world: World): string {
  try {
    return world.readFile(file);
  } catch (error) {
    throw new CommandError(`${flag}: ${file} can't be read: ${reasonOf(error)}`, { exitCode: 2, cause: error });
  }
}

import { mintTimeLimited, toIceServers, verifyTimeLimited } from "@turnpike/credentials";
import { InvalidArgumentError, Option, type Command } from "commander";
import { readCredentials } from "../config/credentials.ts";
import type { ConfigurationKey } from "../config/setting.ts";
import { CommandError } from "../errors.ts";
import { addConfigurationFlags, configurationOf, ENVIRONMENT_HELP, reasonOf } from "../options.ts";
import type { World } from "../world.ts";

/** Gives `turnpike credentials mint|verify` its flags and what it does. */
export function defineCredentialsCommand(credentials: Command, world: World): void {
  addMint(credentials, world);
  addVerify(credentials, world);
}

interface MintFlags {
  readonly user?: string;
  readonly ttl: number;
  readonly url: readonly string[];
  readonly json?: true;
}

function addMint(credentials: Command, world: World): void {
  const mint = credentials
    .command("mint")
    .description("mint a time-limited credential from the first shared secret")
    .option("--user <NAME>", "who it is for (default: nobody in particular)")
    .addOption(
      new Option("--ttl <SECONDS>", "how long it lasts, at most a week").argParser(wholeSeconds).default(86_400),
    )
    .option(
      "--url <URL>",
      "relay to put into the iceServers of the output, such as turn:relay.example (repeatable)",
      collect,
      [],
    )
    .option("--json", "print JSON for programs")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(mint, isSecretKey).action(async () => {
    const flags = mint.opts<MintFlags>();
    const { url: urls, user, ttl } = flags;
    const secrets = secretsOf(mint, world);
    const options = { secrets, ...(user === undefined ? {} : { user }), ttlSeconds: ttl, nowUnixMs: world.unixMs() };
    const credential = await useOf(async () => mintTimeLimited(options));
    const expiresAt = new Date(credential.expiresAtUnixSeconds * 1000).toISOString();
    const answer = {
      username: credential.username,
      credential: credential.credential,
      ttl: credential.ttlSeconds,
      expiresAt,
      ...(urls.length === 0 ? {} : { iceServers: await useOf(async () => toIceServers({ urls, credential })) }),
    };
    if (flags.json === true) {
      world.out(`${JSON.stringify(answer, null, 2)}\n`);
      return;
    }
    const lines = [`username:   ${answer.username}`, `credential: ${answer.credential}`, `expires:    ${expiresAt}`];
    if (answer.iceServers !== undefined) lines.push(`iceServers: ${JSON.stringify(answer.iceServers)}`);
    world.out(`${lines.join("\n")}\n`);
  });
}

function addVerify(credentials: Command, world: World): void {
  const verify = credentials
    .command("verify")
    .description("verify a time-limited credential against every shared secret; exit code 1 if it is not good")
    .argument("<USERNAME>", "the user name, such as 1893456000:alice")
    .argument("<CREDENTIAL>", "its password")
    .addHelpText("after", ENVIRONMENT_HELP);
  addConfigurationFlags(verify, isSecretKey).action(async (username: string, credential: string) => {
    const secrets = secretsOf(verify, world);
    const result = await verifyTimeLimited({ username, credential, secrets, nowUnixMs: world.unixMs() });
    if (!result.ok) throw new CommandError(`not valid: ${REASONS[result.reason]}`, { exitCode: 1 });
    const until = new Date(result.name.expiresAtUnixSeconds * 1000).toISOString();
    const who = result.name.form === "timestamp" ? "nobody in particular" : JSON.stringify(result.name.user);
    world.out(`valid until ${until}, for ${who}\n`);
  });
}

const REASONS = {
  badFormat: "the user name is not time-limited (TIMESTAMP:USER, USER:TIMESTAMP or TIMESTAMP)",
  badCredentials: "no shared secret makes this credential for this user name",
  expired: "the credential has expired",
  tooLong: "the credential lasts longer than it may",
} as const;

function isSecretKey(key: ConfigurationKey): boolean {
  return key.setting.flag === "--shared-secret" || key.setting.flag === "--shared-secret-file";
}

function secretsOf(command: Command, world: World): readonly string[] {
  const { sharedSecrets } = readCredentials(configurationOf(command, world), { readFile: world.readFile, reasonOf });
  if (sharedSecrets.length === 0) {
    throw new CommandError(
      "there is no shared secret: give --shared-secret or --shared-secret-file, or set turn.shared_secrets",
      { exitCode: 2 },
    );
  }
  return sharedSecrets.map((secret) => secret.reveal());
}

/** Runs `use`; what the library refuses is wrong use of the command. */
async function useOf<Value>(use: () => Promise<Value>): Promise<Value> {
  try {
    return await use();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
    throw new CommandError(error.message, { exitCode: 2, cause: error });
  }
}

function wholeSeconds(text: string): number {
  const seconds = Number(text);
  if (!/^\d{1,9}$/.test(text) || seconds < 1)
    throw new InvalidArgumentError("Use a whole number of seconds, at least 1.");
  return seconds;
}

function collect(text: string, previous: readonly string[]): readonly string[] {
  return [...previous, text];
}

import { transportAddress } from "@turnpike/stun";
import { expect, it } from "vitest";
import { openDtls } from "./dtls.ts";

it("where OpenSSL can't be reached, it says why and what else there is", async () => {
  const candidate = {
    transport: "dtls",
    address: transportAddress("127.0.0.1", 5349),
    serverName: "relay.example",
  } as const;
  await expect(openDtls(candidate, {}, () => ({ unavailable: "koffi is not there" }))).rejects.toMatchObject({
    code: "unsupportedTransport",
    message:
      "Cannot connect by DTLS: koffi is not there; install koffi and use an official node binary, or use ?transport=tcp",
  });
});

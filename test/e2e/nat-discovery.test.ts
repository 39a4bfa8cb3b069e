/** NAT behaviour discovery (RFC 5780) of a relay that stands behind a 1:1 NAT. */
import { attribute, changeRequest, getAttribute, otherAddress, responseOrigin, transportAddress } from "@turnpike/stun";
import { expect, test } from "vitest";
import { STATIC_USERS } from "../support/batched-relay.ts";
import { freePorts } from "../support/free-ports.ts";
import { openClient, startTestRelay } from "../support/relay.ts";

test.each(["portable", "batched"] as const)(
  "external addresses are what clients are told, on the %s plane",
  async (plane) => {
    const port = await freePorts(2);
    const relay = await startTestRelay({
      listen: [],
      relayAddresses: [],
      externalAddresses: ["203.0.113.1/127.0.0.1", "203.0.113.2/127.0.0.2"],
      natDiscovery: { addresses: ["127.0.0.1", "127.0.0.2"], ports: [port, port + 1] },
      authenticate: STATIC_USERS,
      forwarding: { plane },
    });
    const client = await openClient(relay);
    const answer = await client.exchange(client.stun.plain("binding", []));
    expect(getAttribute(answer, responseOrigin)).toEqual({ ok: true, value: transportAddress("203.0.113.1", port) });
    expect(getAttribute(answer, otherAddress)).toEqual({ ok: true, value: transportAddress("203.0.113.2", port + 1) });
    const change = attribute(changeRequest, { changeIp: true, changePort: false });
    const changed = await client.exchange(client.stun.plain("binding", [change]));
    expect(getAttribute(changed, responseOrigin)).toEqual({ ok: true, value: transportAddress("203.0.113.2", port) });
  },
);

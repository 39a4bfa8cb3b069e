// A relay in a process of its own, whose quota of users is kept in Redis: `node quota-relay.ts URL QUOTA LEASE_SECONDS`.
import { startRelay } from "@turnpike/relay";
import { RedisAdmissionStore } from "@turnpike/relay/redis";
import { formatTransportAddress } from "@turnpike/stun";
import { staticUsers } from "../../sim/support/authentication.ts";

const [url = "", quota = "3", leaseSeconds = "2"] = process.argv.slice(2);
const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  authenticate: staticUsers({ alice: "wonderland" }),
  limits: { quotas: { user: Number(quota) } },
  admissionStore: await RedisAdmissionStore.connect({ url, leaseSeconds: Number(leaseSeconds) }),
});
console.log(formatTransportAddress(relay.listening[0]!.local));

// A relay of four reactors in a process of its own, whose quota of users is kept in Redis:
// `node quota-relay.ts REDIS_URL PREFIX QUOTA LEASE_SECONDS`. Says where it serves, then the id of each allocation it makes.
import { startRelay } from "@turnpike/relay";
import { RedisAdmissionStore } from "@turnpike/relay/redis";
import { formatTransportAddress } from "@turnpike/stun";

const [url = "", prefix = "", quota = "3", leaseSeconds = "2"] = process.argv.slice(2);
const relay = await startRelay({
  listen: ["udp:127.0.0.1:0"],
  relayAddresses: ["127.0.0.1"],
  authenticate: {
    module: new URL("../../support/static-users-module.ts", import.meta.url).href,
    data: () => ({ alice: "wonderland" }),
  },
  forwarding: { plane: "batched", threads: 4 },
  limits: { quotas: { user: Number(quota) } },
  admissionStore: await RedisAdmissionStore.connect({ url, prefix, leaseSeconds: Number(leaseSeconds) }),
  events: { allocationCreated: ({ context }) => console.log(context.allocationId) },
});
console.log(formatTransportAddress(relay.listening[0]!.local));

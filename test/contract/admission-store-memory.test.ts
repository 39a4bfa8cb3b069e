import { MemoryAdmissionStore } from "@turnpike/relay";
import { admissionStoreContract } from "./support/admission-store-contract.ts";

// One process, one store: closing it ends its quotas.
admissionStoreContract("quotas in memory", async () => {
  const store = new MemoryAdmissionStore();
  return { first: store, second: store, close: async () => store.close() };
});

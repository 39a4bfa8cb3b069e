import { OperationContext } from "@turnpike/authn";
import type { Services } from "./services.ts";
import { trimAudit } from "./store/audit.ts";
import { trimOutbox } from "./store/outbox.ts";

const CLEAN_UP_MS = 60_000;
const REFRESH_MS = 10_000;
const OUTBOX_MS = 3_600_000;
const DAY_MS = 86_400_000;

/** What is done now and then. What fails is done the next time. */
export function startTimers(
  services: Pick<Services, "store" | "fleetSecrets" | "sessions" | "credentials" | "registry" | "logger">,
  /** How long the audit log's entries are kept; 0: for ever. */
  { auditDays }: { readonly auditDays: number },
): () => void {
  const { store, fleetSecrets, sessions, credentials, registry, logger } = services;
  const ctx = OperationContext.internal("clean-up", { logger });
  const every = (ms: number, work: () => Promise<unknown>): NodeJS.Timeout => {
    const timer = setInterval(() => {
      work().catch((error: unknown) => {
        logger.warn({ error: error instanceof Error ? error.message : "unknown error" }, "A regular task failed");
      });
    }, ms);
    timer.unref();
    return timer;
  };
  const timers = [
    every(CLEAN_UP_MS, () => sessions.cleanUp(ctx)),
    every(CLEAN_UP_MS, () => fleetSecrets.retire(ctx)),
    every(CLEAN_UP_MS, () => credentials.cleanUp(ctx)),
    every(CLEAN_UP_MS, () => trimOutbox(ctx, store, OUTBOX_MS)),
    ...(auditDays > 0 ? [every(CLEAN_UP_MS, () => trimAudit(ctx, store, auditDays * DAY_MS))] : []),
    every(REFRESH_MS, () => registry.refresh()),
  ];
  return () => timers.forEach((timer) => clearInterval(timer));
}

/** One row of the method table. */
export interface MethodEntry {
  /** The 12-bit method number. */
  readonly number: number;
  /** The name in IANA's registry "STUN Methods". */
  readonly name: string;
  /** Where it is defined. */
  readonly reference: string;
}

/** Every STUN method that this room knows. */
export const methods = {
  binding: { number: 0x001, name: "Binding", reference: "RFC 8489 §18.2" },
  allocate: { number: 0x003, name: "Allocate", reference: "RFC 8656 §17" },
  refresh: { number: 0x004, name: "Refresh", reference: "RFC 8656 §17" },
  send: { number: 0x006, name: "Send", reference: "RFC 8656 §17" },
  data: { number: 0x007, name: "Data", reference: "RFC 8656 §17" },
  createPermission: { number: 0x008, name: "CreatePermission", reference: "RFC 8656 §17" },
  channelBind: { number: 0x009, name: "ChannelBind", reference: "RFC 8656 §17" },
  connect: { number: 0x00a, name: "Connect", reference: "RFC 6062 §6.1" },
  connectionBind: { number: 0x00b, name: "ConnectionBind", reference: "RFC 6062 §6.1" },
  connectionAttempt: { number: 0x00c, name: "ConnectionAttempt", reference: "RFC 6062 §6.1" },
} as const;

/** A known method, by its name in this room: `"binding"`, `"createPermission"` … */
export type Method = keyof typeof methods;

/** The known method with this number, if there is one. */
export function methodName(number: number): Method | undefined {
  return BY_NUMBER[number];
}

const BY_NUMBER: readonly (Method | undefined)[] = (() => {
  const table: Readonly<Record<Method, MethodEntry>> = methods;
  const names: (Method | undefined)[] = Array.from({ length: 16 }, () => undefined);
  let name: Method;
  for (name in table) names[table[name].number] = name;
  return names;
})();

/** How TCP connections leave: `tcp` directly, `tor` through Tor, `disabled` not at all. */
export type TcpRoute = "tcp" | "tor" | "disabled";

/** A rule for some targets, before the general one. */
export interface RouteOverride {
  /** `host`, `host:port` or `*.domain`. */
  readonly target: string;
  readonly route: TcpRoute;
}

/** Which way TCP takes to whom. */
export interface Routes {
  /** Default `tcp`. */
  readonly tcp?: TcpRoute;
  /** The first that matches decides. */
  readonly overrides?: readonly RouteOverride[];
}

/** The route of a target: the first override that matches, else the general rule. */
export function chooseRoute(target: { readonly host: string; readonly port: number }, options: Routes): TcpRoute {
  const { host, port } = target;
  const override = options.overrides?.find(({ target: pattern }) => {
    const wanted = pattern.toLowerCase();
    if (wanted.startsWith("*.")) return host.endsWith(wanted.slice(1));
    return wanted === host || wanted === `[${host}]` || wanted === `${host}:${port}` || wanted === `[${host}]:${port}`;
  });
  return override?.route ?? options.tcp ?? "tcp";
}

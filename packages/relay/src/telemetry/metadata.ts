/** How a cloud tells a machine of itself. */
export type MetadataMethod = "gce_metadata" | "aws_ec2_metadata";

/** What a metadata server said. What it doesn't know is absent. */
export interface MachineMetadata {
  /** For `service.instance.id`. */
  readonly instanceId?: string;
  readonly publicIpv4?: string;
  readonly publicIpv6?: string;
}

/** What {@link discoverMachine} may be told. */
export interface DiscoveryOptions {
  readonly method: MetadataMethod;
  /** Default: `http://metadata.google.internal`, `http://169.254.169.254`. */
  readonly baseUrl?: string;
  /** For each question. Default 2,000. */
  readonly timeoutMs?: number;
}

/** Reads the name of a method. @throws TypeError if there is none of that name */
export function parseMetadataMethod(text: string): MetadataMethod {
  if (text === "gce_metadata" || text === "aws_ec2_metadata") return text;
  throw new TypeError(`Cannot discover metadata by "${text}": use gce_metadata or aws_ec2_metadata`);
}

const MAX_ANSWER_LENGTH = 256;

/** Asks the metadata server of a cloud. Rejects if it can't be reached at all: it was asked for. */
export async function discoverMachine({
  method,
  baseUrl,
  timeoutMs = 2_000,
}: DiscoveryOptions): Promise<MachineMetadata> {
  return method === "gce_metadata"
    ? discoverGce(baseUrl ?? "http://metadata.google.internal", timeoutMs)
    : discoverEc2(baseUrl ?? "http://169.254.169.254", timeoutMs);
}

async function discoverGce(baseUrl: string, timeoutMs: number): Promise<MachineMetadata> {
  const ask = (path: string): Promise<string | undefined> =>
    get(`${baseUrl}/computeMetadata/v1/instance/${path}`, { timeoutMs, headers: { "metadata-flavor": "Google" } });
  const interfaces = "network-interfaces/0";
  return withoutAbsent({
    instanceId: await ask("id"),
    publicIpv4: await ask(`${interfaces}/access-configs/0/external-ip`),
    publicIpv6: await ask(`${interfaces}/ipv6s`),
  });
}

/** By session tokens (IMDSv2), which a request forged by others can't get. */
async function discoverEc2(baseUrl: string, timeoutMs: number): Promise<MachineMetadata> {
  const token = await get(`${baseUrl}/latest/api/token`, {
    timeoutMs,
    method: "PUT",
    headers: { "x-aws-ec2-metadata-token-ttl-seconds": "60" },
  });
  if (token === undefined) throw new Error("Cannot discover metadata: the server gives no session token");
  const ask = (path: string): Promise<string | undefined> =>
    get(`${baseUrl}/latest/meta-data/${path}`, { timeoutMs, headers: { "x-aws-ec2-metadata-token": token } });
  return withoutAbsent({
    instanceId: await ask("instance-id"),
    publicIpv4: await ask("public-ipv4"),
    publicIpv6: await ask("ipv6"),
  });
}

async function get(
  url: string,
  options: { readonly timeoutMs: number; readonly method?: string; readonly headers: Record<string, string> },
): Promise<string | undefined> {
  const { timeoutMs, method = "GET", headers } = options;
  let response: Response;
  try {
    response = await fetch(url, { method, headers, redirect: "error", signal: AbortSignal.timeout(timeoutMs) });
  } catch (error) {
    throw new Error("Cannot discover metadata: the metadata server does not answer", { cause: error });
  }
  if (!response.ok) {
    await response.body?.cancel();
    return undefined;
  }
  const [line = ""] = (await response.text()).slice(0, MAX_ANSWER_LENGTH).trim().split(/\s/);
  return line === "" ? undefined : line;
}

function withoutAbsent(found: { readonly [K in keyof MachineMetadata]: string | undefined }): MachineMetadata {
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}

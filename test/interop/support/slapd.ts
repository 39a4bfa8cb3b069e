import { type ChildProcess, execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);
const SLAPD = "/usr/sbin/slapd";
const SLAPADD = "/usr/sbin/slapadd";

export const BASE_DN = "dc=example,dc=org";
export const ADMIN_DN = `cn=admin,${BASE_DN}`;
export const ADMIN_PASSWORD = "admin-password";
export const SERVICE_DN = `cn=service,${BASE_DN}`;
export const SERVICE_PASSWORD = "service-password";
const START_TIMEOUT_MS = 15_000;

/** A running slapd of one's own on loopback, with a database that goes when it goes. */
export interface Slapd {
  /** `ldap://localhost:…`; StartTLS is offered. */
  readonly url: string;
  /** `ldaps://localhost:…`. */
  readonly secureUrl: string;
  /** The certificate authority that signed for `localhost`, in PEM. */
  readonly ca: string;
  /** Makes the server deaf: it keeps its connections and answers nothing. */
  pause(): void;
  /** Ends the pause. */
  resume(): void;
  /** Stops the server and keeps the database. */
  stop(): Promise<void>;
  /** Starts the server again, on the same ports. */
  start(): Promise<void>;
  /** Stops the server and removes everything. */
  remove(): Promise<void>;
}

/**
 * Starts slapd, installing the Debian package if it is missing. The directory has the overlays memberof and ppolicy, the
 * entries of `ldif` under {@link BASE_DN}, and a service account that may read everything but passwords. Five wrong
 * passwords lock an account, unless `lockout` is false.
 *
 * @throws Error if slapd can't be installed or doesn't answer
 */
export async function startSlapd({
  ldif,
  lockout = true,
}: {
  readonly ldif: string;
  readonly lockout?: boolean;
}): Promise<Slapd> {
  if (!existsSync(SLAPD) || !existsSync("/usr/bin/openssl")) await install();
  const directory = await mkdtemp(join(tmpdir(), "turnpike-slapd-"));
  const [port, securePort] = [await freePort(), await freePort()];
  const ca = await makeCertificates(directory);
  await mkdir(join(directory, "db"));
  const configuration = join(directory, "slapd.conf");
  await writeFile(configuration, configurationOf(directory));
  await writeFile(join(directory, "start.ldif"), `${startLdif(lockout)}\n${ldif}`);
  await run(SLAPADD, ["-f", configuration, "-l", join(directory, "start.ldif")]);

  let child: ChildProcess | undefined;
  let said = "";
  const start = async (): Promise<void> => {
    const urls = `ldap://127.0.0.1:${port} ldaps://127.0.0.1:${securePort}`;
    child = spawn(SLAPD, ["-f", configuration, "-h", urls, "-d", "0"], { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr?.on("data", (data) => (said = `${said}${String(data)}`.slice(-4000)));
    const until = Date.now() + START_TIMEOUT_MS;
    while (!(await answers(port)) || !(await answers(securePort))) {
      if (child.exitCode !== null || Date.now() > until) throw new Error(`slapd did not start: ${said}`);
      await sleep(20);
    }
  };
  const stop = async (): Promise<void> => {
    const running = child;
    child = undefined;
    if (running === undefined || running.exitCode !== null) return;
    const ended = new Promise((resolve) => running.once("exit", resolve));
    running.kill("SIGTERM");
    await ended;
  };
  await start();
  return {
    url: `ldap://localhost:${port}`,
    secureUrl: `ldaps://localhost:${securePort}`,
    ca,
    pause: () => void child?.kill("SIGSTOP"),
    resume: () => void child?.kill("SIGCONT"),
    start,
    stop,
    remove: async () => {
      await stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A person for `ldif`. */
export function person(uid: string, { password, more = "" }: { password: string; more?: string }): string {
  return `dn: uid=${uid},ou=people,${BASE_DN}
objectClass: inetOrgPerson
uid: ${uid}
cn: ${uid}
sn: ${uid}
displayName: Person ${uid}
userPassword: ${password}
${more}
`;
}

/** A group for `ldif`. */
export function group(cn: string, members: readonly string[]): string {
  return `dn: cn=${cn},ou=groups,${BASE_DN}
objectClass: groupOfNames
cn: ${cn}
${members.map((uid) => `member: uid=${uid},ou=people,${BASE_DN}`).join("\n")}

`;
}

function startLdif(lockout: boolean): string {
  return `dn: ${BASE_DN}
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,${BASE_DN}
objectClass: organizationalUnit
ou: people

dn: ou=groups,${BASE_DN}
objectClass: organizationalUnit
ou: groups

dn: ou=policies,${BASE_DN}
objectClass: organizationalUnit
ou: policies

dn: cn=default,ou=policies,${BASE_DN}
objectClass: pwdPolicy
objectClass: person
cn: default
sn: default
pwdAttribute: userPassword
pwdLockout: ${lockout ? "TRUE" : "FALSE"}
pwdMaxFailure: 5
pwdLockoutDuration: 0
pwdMustChange: TRUE

dn: ${SERVICE_DN}
objectClass: person
cn: service
sn: service
userPassword: ${SERVICE_PASSWORD}
`;
}

function configurationOf(directory: string): string {
  return `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload ppolicy
moduleload memberof
pidfile ${directory}/slapd.pid
argsfile ${directory}/slapd.args
TLSCACertificateFile ${directory}/ca.pem
TLSCertificateFile ${directory}/server.pem
TLSCertificateKeyFile ${directory}/server.key
database mdb
suffix "${BASE_DN}"
rootdn "${ADMIN_DN}"
rootpw ${ADMIN_PASSWORD}
directory ${directory}/db
maxsize 33554432
dbnosync
access to attrs=userPassword by self write by anonymous auth by * none
access to * by self read by dn.exact="${SERVICE_DN}" read by users read by anonymous none
overlay memberof
overlay ppolicy
ppolicy_default "cn=default,ou=policies,${BASE_DN}"
ppolicy_use_lockout
`;
}

async function makeCertificates(directory: string): Promise<string> {
  const file = (name: string): string => join(directory, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  const openssl = (args: readonly string[]): Promise<unknown> => run("openssl", [...args]);
  await openssl([
    "req",
    "-x509",
    ...key,
    "-keyout",
    file("ca.key"),
    "-out",
    file("ca.pem"),
    "-days",
    "2",
    "-subj",
    "/CN=Test CA",
  ]);
  await openssl(["req", ...key, "-keyout", file("server.key"), "-out", file("server.csr"), "-subj", "/CN=localhost"]);
  await writeFile(file("names"), "subjectAltName=DNS:localhost\n");
  const signer = ["-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial", "-extfile", file("names")];
  await openssl(["x509", "-req", "-in", file("server.csr"), ...signer, "-out", file("server.pem"), "-days", "2"]);
  return await readFile(file("ca.pem"), "utf8");
}

async function install(): Promise<void> {
  const options = ["-y", "-o", "DPkg::Lock::Timeout=300", "--no-install-recommends"];
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", ["update", "-o", "DPkg::Lock::Timeout=300"], { env });
  await run("apt-get", ["install", ...options, "slapd", "openssl"], { env });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port was found");
  return address.port;
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

import { readFileSync } from "node:fs";
import { attributes, errorCodes, methods } from "@turnpike/stun";
import { describe, expect, test } from "vitest";

/** The RFCs whose whole content this room knows. */
const COVERED = ["RFC8489", "RFC8656", "RFC6062", "RFC7635", "RFC8016", "RFC5780", "RFC8445"];

interface Row {
  readonly number: number;
  readonly name: string;
  readonly rfc: string;
}

/** The assigned values of one registry: no ranges, nothing reserved or unassigned. */
function readRegistry(file: string): Row[] {
  const text = readFileSync(new URL(`iana/${file}`, import.meta.url), "utf8");
  const [heading, ...lines] = text.trimEnd().split("\n");
  expect(heading).toBe("Value,Name,Reference");
  const rows = lines.map((line) => {
    const match = /^(?<value>[^,]+),(?<name>.*),(?<reference>[^,]*)$/.exec(line);
    if (match?.groups === undefined) throw new Error(`Cannot read line ${line}`);
    const { value = "", name = "", reference = "" } = match.groups;
    return { value, name: wasChangeRequest(name), reference };
  });
  return rows
    .filter(({ value, name }) => !value.includes("-") && !/^(?:Reserved|Unassigned)/.test(name))
    .map(({ value, name, reference }) => ({
      number: Number(value),
      name,
      rfc: /\[(?<rfc>RFC\d+)\]/.exec(reference)?.groups?.["rfc"] ?? reference,
    }));
}

/** RFC 5780 §7.2 uses CHANGE-REQUEST again; the registry says so only in the reference (erratum 4233). */
function wasChangeRequest(name: string): string {
  return name.startsWith("Reserved; was CHANGE-REQUEST") ? "CHANGE-REQUEST" : name;
}

describe.each([
  ["methods", "stun-parameters-2.csv", Object.values(methods)],
  ["attributes", "stun-parameters-4.csv", Object.values(attributes)],
  ["error codes", "stun-parameters-6.csv", Object.values(errorCodes)],
])("%s", (_what, file, table) => {
  const registry = readRegistry(file);
  const rows: Row[] = table.map(({ number, name, reference }) => ({
    number,
    name,
    rfc: reference.replace(/^RFC (\d+) §.*$/, "RFC$1"),
  }));

  test("every row is IANA's", () => {
    for (const row of rows) expect(registry).toContainEqual(row);
    expect(new Set(rows.map(({ number }) => number)).size).toBe(rows.length);
  });

  test("every value that IANA assigned to one of the covered RFCs is here", () => {
    const expected = registry.filter(({ rfc }) => COVERED.includes(rfc));
    expect(expected.length).toBeGreaterThan(9);
    expect(rows.toSorted((a, b) => a.number - b.number)).toEqual(expected);
  });
});

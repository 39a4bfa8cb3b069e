import {
  BusyError,
  ConfidentialityRequiredError,
  ConstraintViolationError,
  InappropriateAuthError,
  InvalidCredentialsError,
  NoSuchObjectError,
  UnavailableError,
  UnknownStatusCodeError,
  UnwillingToPerformError,
} from "ldapts";
import { describe, expect, it } from "vitest";
import { interpretBindError, rejectedByPolicy } from "./ldap-answers.ts";

const activeDirectory = (data: string): Error =>
  new InvalidCredentialsError(
    `80090308: LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data ${data}, v4563`,
  );

describe("interpretBindError", () => {
  it.each([
    ["525", "unknownUser"],
    ["52e", "badCredentials"],
    ["52E", "badCredentials"],
    ["530", "locked"],
    ["531", "locked"],
    ["532", "locked"],
    ["533", "locked"],
    ["701", "locked"],
    ["773", "locked"],
    ["775", "locked"],
    ["999", "badCredentials"],
  ])("reads Active Directory's %s as %s", (data, reason) => {
    expect(interpretBindError(activeDirectory(data))).toMatchObject({ kind: "rejected", reason });
  });

  it.each([
    [new InvalidCredentialsError(""), "badCredentials"],
    [new InappropriateAuthError(""), "badCredentials"],
    [new NoSuchObjectError(""), "unknownUser"],
    [new ConstraintViolationError("Exceed password retry limit. Please try later."), "locked"],
    [new UnwillingToPerformError("Account inactivated. Contact system administrator."), "locked"],
  ])("takes %s for a no", (error, reason) => {
    expect(interpretBindError(error)).toMatchObject({ kind: "rejected", reason });
  });

  it.each([
    new BusyError(""),
    new UnavailableError(""),
    new ConfidentialityRequiredError(""),
    new ConstraintViolationError("else"),
    new UnwillingToPerformError("else"),
    new UnknownStatusCodeError(10, "referral"),
    new UnknownStatusCodeError(1234, ""),
    new Error("ECONNRESET"),
    "a string",
    undefined,
  ])("takes %s for no answer", (error) => {
    expect(interpretBindError(error)).toMatchObject({ kind: "unavailable" });
  });
});

describe("rejectedByPolicy", () => {
  it("refuses what is expired, locked or to be changed, and nothing else", () => {
    const closing = Array.from({ length: 12 }, (_, code) => code).filter(
      (code) => rejectedByPolicy(code) !== undefined,
    );
    expect(closing).toEqual([0, 1, 2]);
    expect(rejectedByPolicy(undefined)).toBeUndefined();
    expect(rejectedByPolicy(1)).toEqual({ kind: "rejected", reason: "locked", detail: "account is locked" });
  });
});

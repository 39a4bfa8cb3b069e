import { AddressRegister, parseIpAddress } from "@turnpike/stun";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { AddressText } from "./address-text.ts";

test("reads and writes any address, however many there are", () => {
  const texts = new AddressText();
  const register = new AddressRegister();
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(65_535), (text, port) => {
      expect(texts.read(text, port, register)).toBe(true);
      expect(register).toMatchObject({ ...parseIpAddress(text), port });
      for (let times = 0; times < 2; times++) {
        expect(parseIpAddress(texts.write(register))).toEqual(parseIpAddress(text));
      }
    }),
    { numRuns: 1000 },
  );
});

test("remembers a bounded number of senders, and forgets the oldest", () => {
  const texts = new AddressText();
  const register = new AddressRegister();
  for (let index = 0; index < 100_000; index++) {
    texts.read(`10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`, 1, register);
  }
  expect(texts.size).toBe(4096);
  expect(texts.read("10.0.0.1", 5, register)).toBe(true);
  expect(texts.write(register)).toBe("10.0.0.1");
});

test("refuses zones and rubbish, and leaves the register alone", () => {
  const texts = new AddressText();
  const register = new AddressRegister();
  texts.read("192.0.2.1", 7, register);
  for (const text of ["fe80::1%eth0", "", "localhost", "192.0.2.256"]) {
    expect(texts.read(text, 9, register)).toBe(false);
  }
  expect(texts.write(register)).toBe("192.0.2.1");
  expect(register.port).toBe(7);
});

test("an IPv4-mapped IPv6 address is not the IPv4 address", () => {
  const texts = new AddressText();
  const register = new AddressRegister();
  texts.read("192.0.2.1", 1, register);
  expect(texts.write(register)).toBe("192.0.2.1");
  texts.read("::ffff:192.0.2.1", 1, register);
  expect(texts.write(register)).toBe("::ffff:192.0.2.1");
});

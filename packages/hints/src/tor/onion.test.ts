import { describe, expect, it } from "vitest";
import { Publication } from "./onion.ts";

describe("a service is published", () => {
  it("when every directory has answered for a descriptor, and one has taken it", () => {
    const publication = new Publication();
    publication.note("UPLOAD", "$A~a", "one");
    publication.note("UPLOAD", "$B~b", "one");
    publication.note("UPLOADED", "$A~a", "");
    expect(publication.published).toBe(0);
    publication.note("FAILED", "$B~b", "");
    expect(publication.published).toBe(1);
    publication.note("UPLOAD", "$A~a", "two");
    expect(publication.published).toBe(1);
    publication.note("UPLOADED", "$A~a", "");
    expect(publication.published).toBe(2);
  });

  it("not by refusals, nor by answers to what was never asked", () => {
    const publication = new Publication();
    publication.note("UPLOADED", "$A~a", "");
    publication.note("UPLOAD", "$A~a", "one");
    publication.note("FAILED", "$A~a", "");
    publication.note("REQUESTED", "$A~a", "one");
    expect(publication.published).toBe(0);
  });
});

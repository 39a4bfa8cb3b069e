import type { HttpRequest } from "../http/request.ts";

/** A request by hand: `GET /` from 192.0.2.1 over https, unless `parts` say otherwise. */
export function httpRequest(parts: Partial<HttpRequest> = {}): HttpRequest {
  return {
    method: "GET",
    protocol: "https",
    authority: "portal.example.org",
    target: "/",
    headers: {},
    remoteAddress: "192.0.2.1",
    ...parts,
  };
}

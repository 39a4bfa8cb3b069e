/// <reference lib="dom" />
/// <reference lib="dom.iterable" />

/**
 * What runs in the page: it is sent as text, so it uses nothing but the browser and itself. All text stands in the
 * page as text, never as markup.
 */
export function runPage(): void {
  interface Person {
    readonly id: string;
    readonly roles: readonly string[];
    readonly csrfToken?: string;
  }
  type Item = Readonly<Record<string, unknown>>;
  type Column = readonly [title: string, cell: (item: Item) => string | HTMLElement];

  const MAX_EVENTS = 50;
  const REFRESH_MS = 500;
  const RELAYS_MS = 5_000;
  let me: Person | undefined;
  let events: readonly Item[] = [];
  let isRefreshDue = false;

  const one = (selector: string): HTMLElement => {
    const found = document.querySelector(selector);
    if (!(found instanceof HTMLElement)) throw new TypeError(`There is no ${selector}`);
    return found;
  };
  const formOf = (selector: string): HTMLFormElement => {
    const found = one(selector);
    if (!(found instanceof HTMLFormElement)) throw new TypeError(`${selector} is no form`);
    return found;
  };
  const say = (text: string): void => {
    one("#message").textContent = text;
  };
  const textOf = (value: unknown): string => {
    if (Array.isArray(value)) return value.map(textOf).join(" ");
    return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
  };
  const timeOf = (value: unknown): string => (typeof value === "string" ? new Date(value).toLocaleString() : "");
  const column = (title: string, key: string): Column => [title, (item) => textOf(item[key])];
  const time = (title: string, key: string): Column => [title, (item) => timeOf(item[key])];

  const ask = async (method: string, path: string, body?: unknown): Promise<Item | undefined> => {
    const headers: Record<string, string> = {};
    if (body !== undefined) headers["content-type"] = "application/json";
    if (method !== "GET" && me?.csrfToken !== undefined) headers["x-csrf-token"] = me.csrfToken;
    const response = await fetch(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    const answer: unknown = text === "" ? {} : JSON.parse(text);
    const item: Item = typeof answer === "object" && answer !== null ? { ...answer } : {};
    if (response.ok) return item;
    if (response.status === 401 && me !== undefined) location.reload();
    // What somebody's roles don't show is hidden in silence; what they do is not.
    if (method !== "GET" || (response.status !== 403 && response.status !== 401)) say(textOf(item["detail"]));
    return undefined;
  };

  const button = (title: string, work: () => Promise<unknown>): HTMLElement => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = title;
    made.addEventListener("click", () => void work().then(refresh));
    return made;
  };

  const fill = (id: string, columns: readonly Column[], items: readonly Item[]): void => {
    const section = one(`#${id}`);
    section.hidden = false;
    const head = document.createElement("tr");
    for (const [title] of columns) {
      const cell = document.createElement("th");
      cell.textContent = title;
      head.append(cell);
    }
    const rows = items.map((item) => {
      const row = document.createElement("tr");
      for (const [, cellOf] of columns) row.insertCell().append(cellOf(item));
      return row;
    });
    if (rows.length === 0) {
      const row = document.createElement("tr");
      const cell = row.insertCell();
      cell.colSpan = columns.length;
      cell.textContent = "none";
      rows.push(row);
    }
    one(`#${id} table`).replaceChildren(head, ...rows);
  };

  /** Lists what the API lets this person see; a section that it doesn't stays hidden. */
  const list = async (id: string, path: string, columns: readonly Column[]): Promise<void> => {
    const answer = await ask("GET", path);
    const items = answer?.[id];
    if (Array.isArray(items)) fill(id, columns, items);
  };
  const pathOf = (item: Item, prefix: string): string => `${prefix}/${encodeURIComponent(textOf(item["id"]))}`;

  const showRelays = (): Promise<void> =>
    list("relays", "/v1/relays", [
      column("Name", "name"),
      ["State", ({ linked, draining }) => (linked !== true ? "away" : draining === true ? "draining" : "linked")],
      ["Load", ({ load }) => (typeof load === "number" ? `${Math.round(load * 100)} %` : "")],
      column("Allocations", "allocations"),
      column("Version", "version"),
      column("URLs", "urls"),
      [
        "",
        (item) =>
          may(["admin", "operator"]) ? button("Drain", () => ask("POST", `${pathOf(item, "/v1/relays")}/drain`)) : "",
      ],
    ]);
  const showAllocations = (): Promise<void> =>
    list("allocations", "/v1/allocations", [
      column("User", "user"),
      column("Client", "client"),
      column("Transport", "transport"),
      column("Relayed", "relayed"),
      time("Since", "createdAt"),
      [
        "",
        (item) =>
          may(["admin", "operator"]) ? button("End", () => ask("DELETE", pathOf(item, "/v1/allocations"))) : "",
      ],
    ]);
  const showUsers = (): Promise<void> =>
    list("users", "/v1/users", [
      column("Name", "id"),
      column("Roles", "roles"),
      column("Allocations", "maxAllocations"),
      ["State", ({ disabled }) => (disabled === true ? "disabled" : "")],
      [
        "",
        (item) =>
          may(["admin"]) && item["id"] !== me?.id
            ? button(item["disabled"] === true ? "Enable" : "Disable", () =>
                ask("PATCH", pathOf(item, "/v1/users"), { disabled: item["disabled"] !== true }),
              )
            : "",
      ],
    ]);
  const showTokens = (): Promise<void> =>
    list("tokens", "/v1/tokens", [
      column("Label", "label"),
      column("Whose", "actor"),
      time("Made", "createdAt"),
      time("Ends", "expiresAt"),
      time("Used", "lastUsedAt"),
      ["", (item) => button("Revoke", () => ask("DELETE", pathOf(item, "/v1/tokens")))],
    ]);
  const showEvents = (): void =>
    fill(
      "events",
      [time("When", "at"), column("What", "type"), column("User", "user"), column("Reason", "reason")],
      events,
    );

  const may = (roles: readonly string[]): boolean => me?.roles.some((role) => roles.includes(role)) === true;

  async function refresh(): Promise<void> {
    await Promise.all([showRelays(), showAllocations(), showUsers(), showTokens()]);
  }

  /** Events come in bursts: lists follow them a moment later, once. */
  const refreshSoon = (): void => {
    if (isRefreshDue) return;
    isRefreshDue = true;
    setTimeout(() => {
      isRefreshDue = false;
      void Promise.all([showRelays(), showAllocations()]);
    }, REFRESH_MS);
  };

  const listen = (): void => {
    const source = new EventSource("/v1/events");
    const take = (message: MessageEvent<string>): void => {
      const event: unknown = JSON.parse(message.data);
      if (typeof event !== "object" || event === null) return;
      events = [{ ...event }, ...events].slice(0, MAX_EVENTS);
      showEvents();
      refreshSoon();
    };
    for (const type of [
      "allocationCreated",
      "allocationDeleted",
      "allocationRefused",
      "authFailed",
      "relayLinked",
      "relayUnlinked",
      "portalAuthFailed",
    ]) {
      source.addEventListener(type, take);
    }
    showEvents();
  };

  const onSubmit = (selector: string, work: (value: (name: string) => string) => Promise<unknown>): void => {
    const form = formOf(selector);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      say("");
      const data = new FormData(form);
      const value = (name: string): string => {
        const given = data.get(name);
        return typeof given === "string" ? given : "";
      };
      void work(value);
    });
  };
  const show = (selector: string, text: string): void => {
    const place = one(selector);
    place.hidden = false;
    place.textContent = text;
  };
  const given = (name: string, value: string): Item => (value === "" ? {} : { [name]: value });
  const number = (name: string, value: string, factor = 1): Item =>
    value === "" ? {} : { [name]: Number(value) * factor };

  onSubmit("#sign-in", async (value) => {
    const signedIn = await ask("POST", "/v1/login", { username: value("username"), password: value("password") });
    if (signedIn !== undefined) location.reload();
  });
  onSubmit("#mint form", async (value) => {
    const body = { ...given("user", value("user")), ...given("label", value("label")), ...number("ttl", value("ttl")) };
    const minted = await ask("POST", "/v1/credentials", body);
    if (minted !== undefined) show("#mint pre", JSON.stringify({ iceServers: minted["iceServers"] }, null, 2));
  });
  onSubmit("#users form", async (value) => {
    const body = {
      id: value("id"),
      roles: value("role") === "" ? [] : [value("role")],
      ...number("maxAllocations", value("maxAllocations")),
      ...given("password", value("password")),
    };
    if ((await ask("POST", "/v1/users", body)) !== undefined) formOf("#users form").reset();
    await showUsers();
  });
  onSubmit("#tokens form", async (value) => {
    const body = { label: value("label"), ...number("lifetimeSeconds", value("days"), 86_400) };
    const made = await ask("POST", "/v1/tokens", body);
    if (made !== undefined) {
      show("#tokens pre", textOf(made["token"]));
      say("The new token is shown this once: keep it somewhere safe.");
    }
    await showTokens();
  });
  one("#sign-out").addEventListener("click", () => void ask("POST", "/v1/logout").then(() => location.reload()));

  void (async () => {
    const who = await ask("GET", "/v1/whoami");
    if (who === undefined) {
      one("#sign-in").hidden = false;
      return;
    }
    const roles = Array.isArray(who["roles"]) ? who["roles"].map(String) : [];
    me = {
      id: textOf(who["id"]),
      roles,
      ...(typeof who["csrfToken"] === "string" ? { csrfToken: who["csrfToken"] } : {}),
    };
    one("#who").textContent = `${me.id} (${roles.join(", ") || "no role"})`;
    one("#sign-out").hidden = false;
    one("#main").hidden = false;
    one("#mint").hidden = !may(["admin", "operator", "minter"]);
    one("#users form").hidden = !may(["admin"]);
    await refresh();
    if (may(["admin", "operator", "viewer"])) {
      listen();
      setInterval(() => void showRelays(), RELAYS_MS);
    }
  })();
}

/** Signs in by the code of a one-time link, which stands behind the "#": browsers send it to nobody, servers don't log it. */
export function runSignIn(): void {
  const code = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  const login = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ code }) };
  void fetch("/v1/login", login).then((response) => {
    if (response.ok) location.replace("/");
    const state = document.querySelector("#state");
    if (state === null) return;
    state.textContent = response.ok
      ? "You are signed in."
      : "This link is used up or too old. Make a new one: turnpike portal --sign-in-link USER";
  });
}

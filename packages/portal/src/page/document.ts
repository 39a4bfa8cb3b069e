/** The page of operators. It holds nothing of anybody: `script.ts` asks the API, as whoever signed in. */
export const DOCUMENT = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Turnpike</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<header>
  <h1>Turnpike</h1>
  <p id="who"></p>
  <button id="sign-out" type="button" hidden>Sign out</button>
</header>
<p id="message" role="status"></p>
<form id="sign-in" hidden>
  <h2>Sign in</h2>
  <label>User name <input name="username" autocomplete="username" required></label>
  <label>Password <input name="password" type="password" autocomplete="current-password" required></label>
  <button>Sign in</button>
</form>
<main id="main" hidden>
  <section id="relays" hidden><h2>Relays</h2><table></table></section>
  <section id="mint" hidden>
    <h2>Credentials</h2>
    <form>
      <label>User <input name="user" maxlength="128" placeholder="you"></label>
      <label>Label <input name="label" maxlength="128"></label>
      <label>Seconds <input name="ttl" type="number" min="1" max="31536000" value="86400"></label>
      <button>Mint</button>
    </form>
    <pre hidden></pre>
  </section>
  <section id="allocations" hidden><h2>Allocations</h2><table></table></section>
  <section id="events" hidden><h2>Events</h2><table></table></section>
  <section id="users" hidden>
    <h2>Users</h2>
    <table></table>
    <form>
      <label>Name <input name="id" required maxlength="64" pattern="[a-z0-9][a-z0-9._@\\-]*"></label>
      <label>Role <select name="role"><option value="">none</option><option>viewer</option><option>minter</option><option>operator</option><option>admin</option></select></label>
      <label>Allocations <input name="maxAllocations" type="number" min="0" max="1000000"></label>
      <label>Password <input name="password" type="password" minlength="8" autocomplete="new-password"></label>
      <button>Add</button>
    </form>
  </section>
  <section id="tokens" hidden>
    <h2>Access tokens</h2>
    <table></table>
    <form>
      <label>Label <input name="label" required maxlength="128"></label>
      <label>Days <input name="days" type="number" min="1" max="3650" placeholder="no end"></label>
      <button>Make</button>
    </form>
    <pre hidden></pre>
  </section>
</main>
<script src="/page.js"></script>
</html>
`;

/** How it looks, by day and by night. */
export const STYLE = `:root {
  color-scheme: light dark;
  --line: light-dark(#d8dde3, #3a424c);
  --faint: light-dark(#5a6572, #9aa5b1);
  --panel: light-dark(#fff, #1c2128);
  --accent: light-dark(#0b5fb0, #6cb2f7);
}
* { box-sizing: border-box; }
body {
  margin: 0 auto;
  max-width: 72rem;
  padding: 1rem;
  background: light-dark(#f4f6f8, #12161b);
  color: light-dark(#1b2430, #e4e9ee);
  font: 15px/1.45 system-ui, sans-serif;
}
header { display: flex; align-items: baseline; gap: 1rem; }
h1 { font-size: 1.4rem; margin: 0.3rem 0; }
h2 { font-size: 1.05rem; margin: 0 0 0.6rem; }
#who { color: var(--faint); flex: 1; margin: 0; }
#message:empty { display: none; }
#message { padding: 0.5rem 0.8rem; border-left: 3px solid var(--accent); background: var(--panel); }
section, #sign-in { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: 1rem; margin: 1rem 0; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; color: var(--faint); font-weight: 500; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line); vertical-align: middle; }
td:has(> button) { text-align: right; }
td { font-variant-numeric: tabular-nums; overflow-wrap: break-word; }
form { display: flex; flex-wrap: wrap; gap: 0.8rem; align-items: end; margin-top: 0.8rem; }
#sign-in h2 { width: 100%; }
label { display: grid; gap: 0.2rem; color: var(--faint); font-size: 0.85rem; }
input, select, button { font: inherit; padding: 0.35rem 0.6rem; border: 1px solid var(--line); border-radius: 4px; background: transparent; color: inherit; }
button { cursor: pointer; white-space: nowrap; color: var(--accent); }
pre { overflow-x: auto; padding: 0.8rem; border: 1px solid var(--line); border-radius: 4px; user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; }
[hidden] { display: none !important; }
`;

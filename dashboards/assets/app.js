// What script adds: pages that follow the ledger, and a read-out for charts. Everything else works without it.

const RETRY_MS = 10_000;
const STALE_MS = 60_000;
// Between two readings a page rests at least this long, and four times as long as the last one took.
const REST_MS = 2_000;
const live = document.getElementById("live");

let loading = false;
let again = false;
let good = Date.now();

// ---------- live pages ----------

// A page that answers a question stays as it was asked: to read it again would be to ask again.
const still = document.querySelector("main [data-still]") !== null;

// What is being typed, or is shown once and never again, must not be swapped away.
const busy = () => {
  if (document.querySelector("main [data-once]")) return true;
  const focused = document.activeElement;
  if (focused?.closest("main") && focused.matches("input, select, textarea")) return true;
  const chosen = (field) => Math.max(0, [...field.options].findIndex((option) => option.defaultSelected));
  const changed = (field) => (field.options ? field.selectedIndex !== chosen(field) : field.value !== field.defaultValue);
  return [...document.querySelectorAll("main form[method=post] :is(input, select, textarea)")].some(changed);
};

function say(word, pending) {
  if (!live) return;
  live.hidden = false;
  live.textContent = word;
  live.classList.toggle("pending", pending);
}

async function refresh() {
  // A page that nobody sees is read again when somebody looks.
  if (still) return;
  if (document.hidden || busy()) { again = true; return; }
  if (loading) { again = true; return; }
  loading = true;
  again = false;
  const began = Date.now();
  try {
    const response = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (response.redirected && new URL(response.url).pathname === "/login") { location.reload(); return; }
    if (!response.ok) throw new Error(String(response.status));
    swap(new DOMParser().parseFromString(await response.text(), "text/html"));
    good = Date.now();
    say("live", false);
  } catch {
    age();
  } finally {
    const rest = Math.max(REST_MS, 4 * (Date.now() - began));
    setTimeout(() => {
      loading = false;
      if (again && !document.hidden && !busy()) refresh();
    }, rest);
  }
}

function swap(page) {
  const [before, after] = [document.getElementById("main"), page.getElementById("main")];
  if (!before || !after) return;
  const known = new Set([...before.querySelectorAll("tr[id]")].map((row) => row.id));
  if (known.size > 0) {
    for (const row of after.querySelectorAll("tr[id]")) if (!known.has(row.id)) row.classList.add("fresh");
  }
  const focused = place(document.activeElement, before);
  before.replaceChildren(...after.childNodes);
  document.getElementById("updated")?.replaceWith(page.getElementById("updated"));
  if (focused !== null) before.querySelectorAll("a, button, [tabindex]")[focused]?.focus({ preventScroll: true });
}

function place(element, main) {
  if (!element || !main.contains(element)) return null;
  const at = [...main.querySelectorAll("a, button, [tabindex]")].indexOf(element);
  return at < 0 ? null : at;
}

function age() {
  const old = Date.now() - good;
  if (old < STALE_MS) return;
  say("stale", true);
  const minutes = Math.floor(old / 60_000);
  let banner = document.getElementById("stale");
  if (!banner) {
    banner = document.createElement("div");
    banner.id = "stale";
    banner.className = "banner";
    banner.setAttribute("role", "status");
    banner.append(document.createElement("span"), document.createElement("span"));
    banner.firstChild.className = "strong";
    banner.lastChild.className = "mid";
    document.getElementById("main")?.prepend(banner);
  }
  banner.firstChild.textContent = `Figures are ${minutes === 1 ? "a minute" : `${minutes} minutes`} old.`;
  banner.lastChild.textContent = `The page lost its connection; it tries again every ${RETRY_MS / 1000} s.`;
}

let source = null;

function listen() {
  if (still || document.hidden || source) return;
  source = new EventSource("/tally/v1/events");
  let open = false;
  source.addEventListener("open", () => {
    open = true;
    good = Date.now();
    say("live", false);
    document.getElementById("stale")?.remove();
  });
  source.addEventListener("changed", refresh);
  source.addEventListener("error", () => {
    // As long as it was open, nothing had changed: figures begin to age now.
    if (open) good = Date.now();
    open = false;
    age();
    if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, RETRY_MS); }
  });
}

function hush() {
  source?.close();
  source = null;
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { hush(); return; }
  listen();
  refresh();
});
document.addEventListener("focusout", () => { if (again) setTimeout(refresh, 200); });
setInterval(() => { if (source && source.readyState !== EventSource.OPEN) age(); }, RETRY_MS);
listen();

// ---------- read-out of charts ----------

// One line under a chart says what the pointer or the arrow keys are at: the bar's own title.
function readout(chart, bar) {
  const figure = chart.closest("figure");
  let line = figure.nextElementSibling;
  if (!line?.classList.contains("readout")) return;
  line.textContent = bar ? bar.querySelector("title").textContent.split("\n").join(" · ") : "";
  for (const other of chart.querySelectorAll("g.at")) other.classList.remove("at");
  bar?.classList.add("at");
}

document.addEventListener("pointerover", (event) => {
  const chart = event.target.closest?.("svg.stack");
  if (chart) readout(chart, event.target.closest("g"));
});
document.addEventListener("focusout", (event) => { if (event.target.matches?.("svg.stack")) readout(event.target, null); });
document.addEventListener("keydown", (event) => {
  const chart = event.target.closest?.("svg.stack");
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!chart || !step) return;
  const bars = [...chart.querySelectorAll("g")];
  const at = bars.findIndex((bar) => bar.classList.contains("at"));
  const next = at < 0 ? bars.length - 1 : Math.min(bars.length - 1, Math.max(0, at + step));
  readout(chart, bars[next]);
  event.preventDefault();
});

// ---------- the editor of queries ----------

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches?.("textarea.editor")) return;
  event.preventDefault();
  event.target.form.requestSubmit(event.target.form.querySelector("button.primary"));
});

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
  if (document.querySelector("main :is([data-once], g.picked)")) return true;
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

// Takes over what a page has become, touching only what differs: what stays keeps its place, its focus and what is chosen in it.
function swap(page) {
  const [before, after] = [document.getElementById("main"), page.getElementById("main")];
  if (!before || !after) return;
  const charts = [...before.querySelectorAll("svg.stack")];
  const read = charts.map((chart) => bars(chart).findIndex((bar) => bar.classList.contains("at")));
  const tail = before.querySelector("[data-tail]");
  const held = tail && (paused || reading(tail)) ? tail : null;
  behind = held !== null;
  const waiting = held ? unseen(held, after.querySelector("[data-tail]")) : 0;
  morph(before, after, held);
  // What was being read out is read out again, with its new figures.
  charts.forEach((chart, number) => { if (chart.isConnected) readout(chart, bars(chart)[read[number]] ?? null); });
  const updated = page.getElementById("updated");
  if (updated && !held) document.getElementById("updated")?.replaceWith(updated);
  tell(waiting);
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && !one.id && !other.id;

// What the reader has done to an element is not undone: whether its details are open, and what script has set.
const own = (element, name) => (name === "open" && element.nodeName === "DETAILS") || name === "aria-pressed";

function morph(before, after, held) {
  if (before === held) return;
  if (before.nodeType !== Node.ELEMENT_NODE) {
    if (before.data !== after.data) before.data = after.data;
    return;
  }
  for (const { name } of [...before.attributes]) if (!after.hasAttribute(name) && !own(before, name)) before.removeAttribute(name);
  for (const { name, value } of [...after.attributes]) {
    if (before.getAttribute(name) !== value && !own(before, name)) before.setAttribute(name, value);
  }
  const named = new Map([...before.children].filter((child) => child.id).map((child) => [child.id, child]));
  const fade = named.size > 0;
  let at = before.firstChild;
  for (const wanted of [...after.childNodes]) {
    const known = wanted.id ? named.get(wanted.id) : at && alike(at, wanted) ? at : undefined;
    if (known && known.nodeName === wanted.nodeName) {
      if (known === at) at = at.nextSibling;
      else before.insertBefore(known, at);
      morph(known, wanted, held);
    } else {
      if (fade && wanted.nodeName === "TR") wanted.classList.add("fresh");
      before.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// ---------- a list that grows at its top ----------

let paused = false;
// Whether the list was held back when the page was last read.
let behind = false;

// Rows do not move below who points at them, has the focus in them, or has scrolled past their beginning.
const reading = (tail) => tail.matches(":hover, :focus-within") || tail.getBoundingClientRect().top < 0;

function unseen(tail, next) {
  const known = new Set([...tail.querySelectorAll("tr[id]")].map((row) => row.id));
  return [...(next?.querySelectorAll("tr[id]") ?? [])].filter((row) => !known.has(row.id)).length;
}

// What waits is told in a place that is kept for it.
function tell(waiting) {
  const news = document.querySelector("[data-news]");
  if (news) news.textContent = waiting === 0 ? "" : `${waiting}${waiting === Number(news.dataset.news) ? " or more" : ""} new`;
  const button = document.querySelector("button[data-pause]");
  if (button) {
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
  }
}

document.addEventListener("click", (event) => {
  if (!event.target.matches?.("button[data-pause]")) return;
  paused = !paused;
  tell(0);
  if (!paused) refresh();
});
document.addEventListener("pointerout", (event) => {
  if (behind && event.target.closest?.("[data-tail]") && !event.relatedTarget?.closest?.("[data-tail]")) refresh();
});
addEventListener("scrollend", () => { if (behind) refresh(); });

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
document.addEventListener("focusout", () => { if (again || behind) setTimeout(refresh, 200); });
setInterval(() => { if (source && source.readyState !== EventSource.OPEN) age(); }, RETRY_MS);
listen();

// ---------- charts: read out, and looked at closer ----------

// One line under a chart says what the pointer or the arrow keys are at: the bar's own title.
function readout(chart, bar) {
  const figure = chart.closest("figure");
  let line = figure.nextElementSibling;
  if (!line?.classList.contains("readout")) return;
  line.textContent = bar ? bar.querySelector("title").textContent.split("\n").join(" · ") : "";
  for (const other of chart.querySelectorAll("g.at")) other.classList.remove("at");
  bar?.classList.add("at");
}

const bars = (chart) => [...chart.querySelectorAll("g")];

// The steps between two places, or none.
function pick(chart, from, to) {
  const [first, last] = [Math.min(from, to), Math.max(from, to)];
  bars(chart).forEach((bar, place) => bar.classList.toggle("picked", place >= first && place <= last));
}

function unpick(chart) {
  for (const bar of chart.querySelectorAll("g.picked")) bar.classList.remove("picked");
}

// The same question over the steps that are picked.
function zoom(chart) {
  const picked = bars(chart).filter((bar) => bar.classList.contains("picked"));
  if (picked.length === 0) return;
  const iso = (ms) => `${new Date(Number(ms)).toISOString().slice(0, 19)}Z`;
  const url = new URL(location.href);
  for (const name of ["range", "step"]) url.searchParams.delete(name);
  url.searchParams.set("since", iso(picked[0].dataset.since));
  url.searchParams.set("until", iso(picked[picked.length - 1].dataset.until));
  leave();
  location.assign(url);
}

// Until the next page is there the old figures stand, and show that they are old.
function leave() {
  document.getElementById("main")?.classList.add("is-loading");
  say("loading", true);
}
addEventListener("pageshow", () => document.getElementById("main")?.classList.remove("is-loading"));

let drag = null;

// The step below the pointer, by where it is across the chart: a bar's gaps count too.
function under(chart, event) {
  const box = chart.getBoundingClientRect();
  const all = bars(chart);
  const place = Math.floor(((event.clientX - box.left) / box.width) * all.length);
  return Math.min(all.length - 1, Math.max(0, place));
}

document.addEventListener("pointerover", (event) => {
  const chart = event.target.closest?.("svg.stack");
  if (chart) readout(chart, event.target.closest("g"));
});
document.addEventListener("pointerdown", (event) => {
  const chart = event.target.closest?.("svg.stack[data-zoom]");
  if (!chart || event.button !== 0) return;
  drag = { chart, from: under(chart, event), moved: false, x: event.clientX };
});
document.addEventListener("pointermove", (event) => {
  if (!drag) return;
  if (Math.abs(event.clientX - drag.x) > 4) drag.moved = true;
  if (!drag.moved) return;
  const to = under(drag.chart, event);
  pick(drag.chart, drag.from, to);
  readout(drag.chart, bars(drag.chart)[to]);
  event.preventDefault();
});
document.addEventListener("pointerup", () => {
  if (drag?.moved) zoom(drag.chart);
  drag = null;
});
document.addEventListener("pointercancel", () => {
  if (drag) unpick(drag.chart);
  drag = null;
});
// A drag over a chart selects no text.
document.addEventListener("selectstart", (event) => { if (drag) event.preventDefault(); });
document.addEventListener("focusout", (event) => {
  if (!event.target.matches?.("svg.stack")) return;
  readout(event.target, null);
  unpick(event.target);
});
document.addEventListener("keydown", (event) => {
  const chart = event.target.closest?.("svg.stack");
  if (!chart) return;
  const all = bars(chart);
  const at = all.findIndex((bar) => bar.classList.contains("at"));
  const zooms = chart.hasAttribute("data-zoom");
  const step = { ArrowLeft: -1, ArrowRight: 1, Home: -all.length, End: all.length }[event.key];
  if (step) {
    const next = at < 0 ? all.length - 1 : Math.min(all.length - 1, Math.max(0, at + step));
    if (zooms && event.shiftKey) {
      if (chart.querySelector("g.picked") === null) chart.dataset.from = String(Math.max(0, at));
      pick(chart, Number(chart.dataset.from), next);
    } else {
      unpick(chart);
    }
    readout(chart, all[next]);
    event.preventDefault();
  } else if (event.key === "Enter" && zooms && at >= 0) {
    if (chart.querySelector("g.picked") === null) pick(chart, at, at);
    zoom(chart);
    event.preventDefault();
  } else if (event.key === "Escape") {
    if (drag) drag = null;
    unpick(chart);
    readout(chart, null);
  }
});

// ---------- forms that ask ----------

// A choice from a list is asked at once; what is typed, when it is sent.
document.addEventListener("change", (event) => {
  if (event.target.matches?.("form[data-submits] select")) event.target.form.requestSubmit();
});
document.addEventListener("submit", (event) => { if (event.target.matches("form[method=get]")) leave(); });

// ---------- the editor of queries ----------

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || !event.target.matches?.("textarea.editor")) return;
  event.preventDefault();
  event.target.form.requestSubmit(event.target.form.querySelector("button.primary"));
});

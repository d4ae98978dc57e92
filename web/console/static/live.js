// Keeps open pages up to date: one stream for all tabs of a browser, held by the tab that has the lock, which tells the
// others. A region with `data-part` asks for that part of its own page, and only what differs is changed in it.
import { Idiomorph } from "./vendor/idiomorph.js";
import { ended, showCopying, stands } from "./console.js";

const policy = window.trustedTypes?.createPolicy("console", { createHTML: (text) => text }) ?? { createHTML: (text) => text };
const channel = new BroadcastChannel("hub-live");
const button = document.getElementById("live");
const waiting = new Map();
let paused = false;
let lost = null;
let last = "";

/** What the reader has opened or closed stays so. */
const callbacks = { beforeAttributeUpdated: (name, node) => !(name === "open" && node.localName === "details") };

function say() {
  if (!button) return;
  button.hidden = false;
  const since = lost?.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  button.textContent = paused ? "Paused" : lost ? `Cannot reach the server since ${since}` : "Live";
  button.setAttribute("aria-pressed", String(!paused));
}

/** Ask for the part and change what differs, without losing focus or what was typed. */
async function refresh(region) {
  const address = new URL(region.dataset.part.startsWith("/") ? region.dataset.part : location.href, location.href);
  if (!region.dataset.part.startsWith("/")) address.searchParams.set("part", region.dataset.part);
  region.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.status === 401) return ended();
    if (!answer.ok) return;
    const fresh = document.createElement("template");
    fresh.innerHTML = policy.createHTML(await answer.text());
    Idiomorph.morph(region, [...fresh.content.childNodes], { morphStyle: "innerHTML", ignoreActiveValue: true, callbacks });
    showCopying(region);
    lost = null;
  } catch {
    lost ??= new Date();
  } finally {
    region.removeAttribute("aria-busy");
    say();
  }
}

/** At most once a second for each region. */
function soon(region) {
  if (waiting.has(region)) return;
  waiting.set(region, setTimeout(() => { waiting.delete(region); refresh(region); }, 1000));
}

function happened({ name, data, id }) {
  last = id || last;
  if (paused) return;
  for (const region of document.querySelectorAll(`[data-part][data-on~="${name}"]`)) {
    if (name !== "run" || !region.dataset.run || data.startsWith(region.dataset.run)) soon(region);
  }
}

/** Hold the stream until this tab is hidden. */
function hold() {
  return new Promise((done) => {
    const source = new EventSource(`/console/live${last ? `?after=${last}` : ""}`);
    const tell = (name) => (event) => {
      const said = { name, data: event.data, id: event.lastEventId };
      happened(said);
      channel.postMessage(said);
    };
    for (const name of ["place", "run", "budget", "deliveries"]) source.addEventListener(name, tell(name));
    source.addEventListener("open", () => { lost = null; say(); });
    source.addEventListener("bye", async () => { if (!await stands()) { end(); ended(); } });
    source.addEventListener("error", () => { lost ??= new Date(); say(); });
    const end = () => { source.close(); done(); };
    addEventListener("pagehide", end, { once: true });
    document.addEventListener("visibilitychange", () => { if (document.hidden) end(); });
  });
}

function follow() {
  if (document.hidden) return;
  if (navigator.locks) navigator.locks.request("hub-live", () => (document.hidden ? undefined : hold()));
  else hold();
}

channel.addEventListener("message", (event) => happened(event.data));
button?.addEventListener("click", () => { paused = !paused; say(); });
document.addEventListener("visibilitychange", follow);
document.addEventListener("signed-in", follow);
// what is still open may have ended between the page and the stream
for (const region of document.querySelectorAll("[data-soon]")) soon(region);
say();
follow();

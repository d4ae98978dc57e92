// Keeps open pages up to date: one stream for all tabs of a browser, held by the tab that has the lock, which tells the
// others. A region with `data-part` asks for that part of its own page, and only what differs is changed in it.
import { Idiomorph } from "./vendor/idiomorph.js";
import * as ages from "./ages.js";
import { ended, showCopying, stands, tell } from "./console.js";

const policy = window.trustedTypes?.createPolicy("console", { createHTML: (text) => text }) ?? { createHTML: (text) => text };
const channel = new BroadcastChannel("hub-live");
const button = document.getElementById("live");
const waiting = new Map();
let paused = false;
let lost = null;
let last = "";
let turn = 0;
let announced = 0;
let announcing;

/** What the reader has opened or closed stays so. */
const callbacks = { beforeAttributeUpdated: (name, node) => !(name === "open" && node.localName === "details") };

function say() {
  if (!button) return;
  button.hidden = false;
  const since = lost?.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  button.textContent = paused ? "Paused" : lost ? `Cannot reach the server since ${since}` : "Live";
  button.setAttribute("aria-pressed", String(!paused));
}

/** What differs in a region is changed, without losing focus or what was typed. */
export function change(region, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = policy.createHTML(html);
  Idiomorph.morph(region, [...fresh.content.childNodes], { morphStyle: "innerHTML", ignoreActiveValue: true, callbacks });
  showCopying(region);
}

/** The sentence of a region that is worth saying to those who do not see it change (`data-told`). */
function said(region) {
  return region.querySelector("[data-told]")?.textContent;
}

/** At most one in five seconds: the last. */
function announce(region) {
  clearTimeout(announcing);
  announcing = setTimeout(() => {
    announced = Date.now();
    tell(said(region) ?? "");
  }, Math.max(0, announced + 5000 - Date.now()));
}

/** Ask for the part and change what differs. */
async function refresh(region) {
  const address = new URL(region.dataset.part.startsWith("/") ? region.dataset.part : location.href, location.href);
  if (!region.dataset.part.startsWith("/")) address.searchParams.set("part", region.dataset.part);
  const before = said(region);
  region.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (answer.status === 401) return ended();
    if (!answer.ok) throw new Error(String(answer.status));
    change(region, await answer.text());
    if (said(region) !== before) announce(region);
    lost = null;
  } catch {
    lost ??= new Date();
  } finally {
    region.removeAttribute("aria-busy");
    say();
    goOn(region);
  }
}

/** At most once a second for each region. */
function soon(region, seconds = 1) {
  if (waiting.has(region)) return;
  waiting.set(region, setTimeout(() => {
    waiting.delete(region);
    if (!paused) refresh(region);
  }, 1000 * seconds));
}

/** What has `data-every` (seconds), or something in it that has, is asked for again and again while it is seen. */
function goOn(region) {
  const every = region.dataset.every ?? region.querySelector("[data-every]")?.dataset.every;
  if (every && !paused && !document.hidden) soon(region, every);
}

function regions() {
  return document.querySelectorAll("[data-part]");
}

function happened({ name, data, id }) {
  last = id || last;
  if (paused) return;
  // too much happened to be named: everything that is shown may have changed
  const concerned = name === "reload" ? "[data-part][data-on]" : `[data-part][data-on~="${name}"]`;
  for (const region of document.querySelectorAll(concerned)) {
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
    for (const name of ["place", "run", "budget", "deliveries", "reload"]) source.addEventListener(name, tell(name));
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
button?.addEventListener("click", () => {
  paused = !paused;
  say();
  if (!paused) for (const region of regions()) soon(region); // what happened meanwhile
});
document.addEventListener("visibilitychange", () => { follow(); regions().forEach(goOn); });
document.addEventListener("signed-in", follow);
// what is still open may have ended between the page and the stream
for (const region of document.querySelectorAll("[data-soon]")) soon(region);
regions().forEach(goOn);
setInterval(() => { if (!paused && !document.hidden) ages.goOn(++turn); }, 1000);
say();
follow();

// Regions that are asked for again while the page is seen: `data-part="name" data-every="5"` (seconds).
import { ended, showCopying } from "./console.js";

const pause = document.querySelector("button[data-pause]");
const reached = document.getElementById("reached");
let paused = false;
let awaySince = null;

/** The answer as a document. It is parsed by the browser's own request, so no text of ours becomes HTML. */
function load(path) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("GET", path);
    request.responseType = "document";
    request.timeout = 10_000;
    request.onload = () => {
      if (request.status === 401) ended();
      if (request.status === 200 && request.responseXML) resolve(request.responseXML);
      else reject(new Error(String(request.status)));
    };
    request.onerror = request.ontimeout = () => reject(new Error("unreachable"));
    request.send();
  });
}

function address(region) {
  const url = new URL(location.href);
  url.searchParams.set("part", region.dataset.part);
  return url;
}

/** What is selected or has the focus is not taken from under the reader. */
function isInUse(region) {
  const selection = getSelection();
  return region.contains(document.activeElement)
    || (selection !== null && !selection.isCollapsed && region.contains(selection.anchorNode));
}

async function refresh(region) {
  if (paused || document.hidden || isInUse(region)) return;
  region.setAttribute("aria-busy", "true");
  try {
    const found = await load(address(region));
    const open = [...region.querySelectorAll("details")].map((each) => each.open);
    region.replaceChildren(...document.importNode(found.body, true).childNodes);
    region.querySelectorAll("details").forEach((each, at) => { each.open = open[at] ?? each.open; });
    showCopying(region);
    awaySince = null;
    reached.hidden = true;
  } catch {
    awaySince ??= new Date();
    reached.textContent = `The server cannot be reached since ${awaySince.toLocaleTimeString()}. What is shown is older.`;
    reached.hidden = false;
  } finally {
    region.removeAttribute("aria-busy");
  }
}

if (pause) {
  pause.hidden = false;
  document.querySelector("[data-refresh]")?.remove();
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
  });
}
for (const region of document.querySelectorAll("[data-part][data-every]")) {
  setInterval(() => refresh(region), 1000 * Number(region.dataset.every));
}

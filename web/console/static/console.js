// What scripts add to every page; without them each page does the same with one more click.
import { shortcuts } from "./shortcuts.js";

const root = document.documentElement;

/** Says one sentence to those who do not see the page. */
export function tell(sentence) {
  document.getElementById("told").textContent = sentence;
}

/** The time zone is known to scripts only; times of the next page are in it. */
function rememberZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.split("; ").includes(`hub-zone=${zone}`)) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `hub-zone=${zone}; Path=/console; Max-Age=31536000; SameSite=Lax${secure}`;
  }
}

/** Buttons that copy are of use with scripts only. */
export function showCopying(within = document) {
  for (const button of within.querySelectorAll("button.copy[hidden]")) button.hidden = !navigator.clipboard;
}

async function copy(button) {
  const source = button.dataset.copyFrom ? document.getElementById(button.dataset.copyFrom) : null;
  await navigator.clipboard.writeText(source ? source.textContent : button.dataset.copy);
  const before = button.firstChild.textContent;
  button.firstChild.textContent = "Copied";
  tell("Copied.");
  setTimeout(() => { button.firstChild.textContent = before; }, 1500);
}

/** A form that was sent is not sent again by a second click. */
function sendOnce(event) {
  const form = event.target;
  if (event.defaultPrevented || form.method === "dialog") return;
  if (form.dataset.sent) event.preventDefault();
  else if (form.method === "post") form.dataset.sent = "yes";
}

/** Menus close by Escape and by a click elsewhere. */
function closeMenus(event) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (event.type === "keydown" ? event.key === "Escape" : !menu.contains(event.target)) {
      if (event.type === "keydown" && menu.contains(document.activeElement)) menu.querySelector("summary").focus();
      menu.open = false;
    }
  }
}

/** Signing out in one tab is seen in the others. */
function followSigningOut() {
  const channel = new BroadcastChannel("hub-session");
  channel.addEventListener("message", () => location.reload());
  document.addEventListener("submit", (event) => {
    if (event.target.matches("[data-sign-out]")) addEventListener("pagehide", () => channel.postMessage("ended"), { once: true });
  });
}

rememberZone();
showCopying();
document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) copy(button);
});
document.addEventListener("submit", sendOnce);
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
document.addEventListener("click", closeMenus);
document.addEventListener("keydown", closeMenus);
followSigningOut();
document.getElementById("summary")?.focus();
if (root.dataset.shortcuts === "on") shortcuts();

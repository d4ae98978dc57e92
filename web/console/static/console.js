// What scripts add to every page; without them each page does the same with one more click.
import { shortcuts } from "./shortcuts.js";

const root = document.documentElement;
const account = document.getElementById("account-email");
const again = document.createElement("dialog");
const REFUSED = {
  401: "The password is wrong.",
  429: "Too many attempts. Try again in some minutes.",
  503: "It cannot be checked now. Try again.",
};

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

/** A form that was sent is not sent again by a second click; one that is sent after the session has ended stays. */
async function send(event) {
  const form = event.target;
  if (event.defaultPrevented || form.method !== "post" || again.contains(form)) return;
  if (form.dataset.stands) return void delete form.dataset.stands;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "yes";
  if (!account) return;
  event.preventDefault();
  const go = () => {
    form.dataset.stands = "yes";
    form.requestSubmit(event.submitter);
  };
  if (await stands()) return go();
  delete form.dataset.sent;
  signInAgain(go);
}

/** Whether the session has not ended; if the server cannot be reached, the browser says so. */
export async function stands() {
  try {
    return (await fetch("/console/session", { redirect: "manual" })).type !== "opaqueredirect";
  } catch {
    return true;
  }
}

/** The session has ended while this page was open: what was typed stays, another page is left. */
export function ended() {
  if (again.open) return;
  const isTyped = (it) => it.value !== it.defaultValue || it.checked !== it.defaultChecked;
  if (account && [...document.querySelectorAll("main form[method=post] :is(input, textarea)")].some(isTyped)) signInAgain();
  else location.reload();
}

function make(tag, attributes, ...inside) {
  const element = Object.assign(document.createElement(tag), attributes);
  element.append(...inside);
  return element;
}

/** The dialog in which one signs in as the same account again; `then` is done once one has. */
function signInAgain(then = () => {}) {
  const password = make("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const email = make("input", { type: "email", name: "email", autocomplete: "username", readOnly: true, value: account.textContent });
  const fault = make("p", { className: "fault", role: "alert" });
  const title = make("h2", { id: "again-title" }, "Your session has ended");
  const cancel = make("button", { type: "button", onclick: () => again.close() }, "Cancel");
  const form = make("form", { className: "stack" },
    make("p", {}, "Sign in again to go on. What is typed on this page stays."),
    make("label", { className: "field" }, "Account", email),
    make("label", { className: "field" }, "Its password", password),
    fault, make("p", { className: "actions" }, make("button", { className: "main" }, "Sign in"), " ", cancel));
  form.onsubmit = async (event) => {
    event.preventDefault();
    const answer = await fetch("/console/sign-in", { method: "POST", body: new URLSearchParams(new FormData(form)), redirect: "manual" });
    const isIn = answer.type === "opaqueredirect";
    password.value = "";
    fault.textContent = isIn ? "" : REFUSED[answer.status] ?? REFUSED[503];
    if (!isIn) return password.focus();
    again.close();
    document.dispatchEvent(new Event("signed-in"));
    then();
  };
  again.replaceChildren(title, form);
  again.setAttribute("aria-labelledby", "again-title");
  document.body.append(again);
  again.showModal();
  password.focus();
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
  channel.addEventListener("message", ended);
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
document.addEventListener("submit", send);
addEventListener("pageshow", () => { for (const form of document.forms) delete form.dataset.sent; });
document.addEventListener("click", closeMenus);
document.addEventListener("keydown", closeMenus);
followSigningOut();
document.getElementById("summary")?.focus();
if (root.dataset.shortcuts === "on") shortcuts();

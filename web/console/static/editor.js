// The editor of tools shows the form that users will see while its schema is typed; without scripts a button does.
import { ended } from "./console.js";
import { change } from "./live.js";

const TYPED = ["input_schema", "example_input"];
const form = document.getElementById("editor");
const region = document.getElementById("previewed");
let timer;
let last = 0;

/** Ask for the form of what is typed now; an answer that another one has overtaken is dropped. */
async function show() {
  const mine = ++last;
  region.setAttribute("aria-busy", "true");
  try {
    const body = new URLSearchParams(TYPED.map((name) => [name, form.elements[name].value]));
    const answer = await fetch(region.dataset.preview, { method: "POST", body });
    if (answer.status === 401) return ended();
    if (!answer.ok || mine !== last) return;
    change(region, await answer.text());
    region.removeAttribute("aria-busy");
  } catch {
    // it stays as it was, and dimmed; the next letter asks again
  }
}

form.addEventListener("input", (event) => {
  if (!TYPED.includes(event.target.name)) return;
  clearTimeout(timer);
  timer = setTimeout(show, 400);
});

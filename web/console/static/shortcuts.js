// Keyboard shortcuts: `/` search, `g` and a letter to go, `j` and `k` for rows, `?` the list of them.
let going = false;

function isTyping(event) {
  return event.target.closest("input, select, textarea, [contenteditable], dialog") !== null;
}

function rows() {
  return [...document.querySelectorAll("main tbody tr a:first-of-type, main tbody tr input[type=checkbox]:first-of-type")]
    .map((each) => each.closest("tr")).filter((row, at, all) => all.indexOf(row) === at);
}

function move(step) {
  const all = rows();
  const here = all.findIndex((row) => row.contains(document.activeElement));
  const row = all[Math.max(0, Math.min(all.length - 1, here + step))];
  row?.querySelector("a, input")?.focus();
}

function press(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event)) return;
  const key = event.key;
  const went = going;
  going = key === "g" && !going;
  if (went) document.querySelector(`nav a[data-key="${CSS.escape(key)}"]`)?.click();
  else if (key === "/") document.querySelector("[data-search]")?.focus();
  else if (key === "j" || key === "k") move(key === "j" ? 1 : -1);
  else if (key === "?") document.getElementById("shortcuts")?.showModal();
  else return;
  event.preventDefault();
}

/** Listen; called where they are not switched off. */
export function shortcuts() {
  document.addEventListener("keydown", press);
}

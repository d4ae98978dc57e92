// Ages and running times go on while a page is open: `<time data-ago>` every ten seconds, `<time data-since>` each second.
const root = document.documentElement;
const skew = Date.parse(root.dataset.now) - Date.now(); // the server's clock counts
const COARSE = 10;

/** As the server writes durations (show.py), without fractions. */
function duration(seconds) {
  const parts = (size, name, smaller, other) => {
    const rest = Math.floor((seconds % size) / smaller);
    return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${other}` : ""}`;
  };
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return parts(60, "min", 1, "s");
  return seconds < 172_800 ? parts(3600, "h", 60, "min") : parts(86_400, "d", 3600, "h");
}

function ago(seconds) {
  if (seconds === 0) return "just now";
  return seconds > 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

/** Write what has become of all that go on; those that need not be exact to the second only when it is their turn. */
export function goOn(turn) {
  const now = Date.now() + skew;
  const seconds = (it) => Math.round((now - Date.parse(it.dateTime)) / 1000);
  for (const it of document.querySelectorAll("time[data-since]")) it.textContent = duration(Math.max(0, seconds(it)));
  if (turn % COARSE) return;
  for (const it of document.querySelectorAll("time[data-ago]")) it.textContent = ago(seconds(it));
}

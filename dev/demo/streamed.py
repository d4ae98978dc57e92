"""The demo's streams: an answer that is read while it is written, and one that is canceled in the middle."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dev.demo import receipt, screen
from dev.demo.client import Json
from dev.demo.scenario import Demo, charged
from dev.demo.screen import Writing
from dev.demo.work import LONGEST_SECONDS, Job

TOOL = "storyteller"
#: Characters after which the second answer is canceled. It would go on for a quarter of a minute.
ENOUGH = 120
LONG = 500


@dataclass(slots=True)
class Reading:
    """What a reader of a stream has seen. Times are in seconds after the submit."""

    text: str = ""
    parts: int = 0
    first: float = 0.0
    whole: float = 0.0


def tell(demo: Demo) -> None:
    """Run these steps. Raises `ApiError` when they cannot continue."""
    _read_along(demo)
    receipt.tell(demo, _cancel(demo))


# -- reading ---------------------------------------------------------------------------------------------------


def _read_along(demo: Demo) -> None:
    demo.screen.title("An answer, read while it is written")
    job, read = _asked(demo, "How is a submit billed?")
    units = job.invocation["billing"]["units"]
    demo.confirm(
        job.status == "succeeded" and read.parts > 1 and _content(job).startswith(read.text),
        f"{read.parts} parts: the first after {read.first:.2f} s, the last and the end after {read.whole:.1f} s",
        f"a streamed answer: {job.status}, {read.parts} parts, and its output is not what was read",
    )
    price = screen.price(job.invocation["billing"]["price"])
    reported = f"{charged(job)} tokens charged: {price}, and the tool reported {units:g}"
    demo.confirm(_due(job, units) == charged(job), reported, f"{charged(job)} tokens were charged for {units} units")


def _cancel(demo: Demo) -> Job:
    demo.screen.title("Another one, canceled in the middle")
    job, read = _asked(demo, "What happens when a worker is killed?", ENOUGH, min_tokens=LONG)
    billing = job.invocation["billing"]
    demo.confirm(
        (job.status, billing["basis"]) == ("canceled", "metered") and _content(job).startswith(read.text),
        f"canceled after {len(_content(job))} characters: they are its output, and {charged(job)} tokens its charge",
        f"a canceled answer: {job.status}, {billing['basis']}, and its output is not what was read",
    )
    texts = {"published": _content(job), "in the input": str(job.input["messages"][0]["content"])}
    units = sum(_counted(billing["price"], text) for text in texts.values())
    demo.screen.say("[dim]basis metered: no usage was reported yet, so the price's meter counts[/]")
    demo.screen.show(_bill(billing["price"], texts, units))
    demo.confirm(
        (_due(job, units), billing["units"]) == (charged(job), units),
        "computed here, by the rule in the catalogue, from what was published",
        f"the meter comes to {units} units, but {billing['units']} and {charged(job)} tokens are charged",
    )
    return job


def _asked(demo: Demo, question: str, enough: int | None = None, **options: int) -> tuple[Job, Reading]:
    """Submit and read to the end; cancel after `enough` characters."""
    job = Job(TOOL, {"model": TOOL, "messages": [{"role": "user", "content": question}], **options})
    demo.screen.say(f"[dim]{TOOL}:[/] {escape(question)}")
    began = time.monotonic()
    job.saw(demo.api.invoke(TOOL, {"input": job.input, "stream": True}, job.key).json()["data"])
    demo.extras.append(job)
    with demo.screen.writing() as writing:
        read = _read(demo, job, writing, began, enough)
        writing.text = _content(job)
    if not job.ended:
        demo.expect(False, f"a stream of {TOOL} broke off")
    return job, read


def _read(demo: Demo, job: Job, writing: Writing, began: float, enough: int | None) -> Reading:
    read = Reading()
    for name, data in demo.api.events(job.id, began + LONGEST_SECONDS):
        demo.keep_up()
        if not name.startswith("output."):
            job.saw(data)
            continue
        text = "".join(choice["delta"].get("content") or "" for choice in data["choices"])
        read.first = read.first or time.monotonic() - began
        read.parts += 1
        read.text = writing.text = read.text + text if name == "output.delta" else text
        if enough is not None and len(read.text) >= enough:
            enough = None
            demo.api.post(f"/invocations/{job.id}/cancel")
    read.whole = time.monotonic() - began
    return read


def _content(job: Job) -> str:
    return str((job.invocation.get("output") or {"choices": [{"message": {}}]})["choices"][0]["message"].get("content"))


# -- what it costs ---------------------------------------------------------------------------------------------


def _counted(price: Json, text: str) -> int:
    """Units of a text by the meter of a price."""
    return -(-len(text) // int(price["metered"]["chars_per_unit"]))


def _due(job: Job, units: float) -> int:
    """The charge by the price: all of these are whole numbers here."""
    price = job.invocation["billing"]["price"]
    return int(min(price["base_tokens"] + price["per_unit"]["tokens"] * units, job.invocation["billing"]["held"]))


def _bill(price: Json, texts: dict[str, str], units: int) -> Table:
    rate, divided = price["per_unit"]["tokens"], f"÷ {price['metered']['chars_per_unit']}, rounded up"
    rows = screen.table("characters", "", divided, right=("characters", divided))
    for what, text in texts.items():
        rows.add_row(f"{len(text):,}", what, f"{_counted(price, text):,}")
    due = price["base_tokens"] + rate * units
    rows.add_row("", Text(f"{price['base_tokens']} + {rate:g} × {units:,} tokens", "bold"), Text(f"{due:,g}", "bold"))
    return rows

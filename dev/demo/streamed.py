"""The demo's streams: an answer that is read while it is written, and one that is canceled in the middle."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dev.demo import model, receipt, screen
from dev.demo.scenario import Demo
from dev.demo.screen import Writing
from dev.demo.work import LONGEST_SECONDS, Job
from joyfull import InvocationEnded, models
from joyfull import Job as Submitted

#: Of each tool: the name of its model, what is asked for a short answer, and for a long one, with what makes it long.
ASKED: Final[dict[str, tuple[str, str, str, dict[str, int]]]] = {
    "storyteller": (
        "storyteller",
        "How is a submit billed?",
        "What happens when a worker is killed?",
        {"min_tokens": 500},
    ),
    "chat": (model.NAME, "Why is the sky blue? Answer in one sentence.", "Tell a long story of a heron.", {}),
}
#: What one of these answers may cost, in tokens.
MOST = 2_000
#: Characters after which the second answer is canceled. It would go on for a quarter of a minute.
ENOUGH = 120


@dataclass(slots=True)
class Reading:
    """What a reader of a stream has seen. Times are in seconds after the submit."""

    text: str = ""
    parts: int = 0
    first: float = 0.0
    whole: float = 0.0


def tell(demo: Demo) -> None:
    """Run these steps. Raises `JoyfullError` when they cannot continue."""
    _read_along(demo)
    receipt.tell(demo, _cancel(demo))


# -- reading ---------------------------------------------------------------------------------------------------


def _read_along(demo: Demo) -> None:
    demo.screen.title("An answer, read while it is written")
    job, read = _asked(demo, ASKED[demo.talker][1])
    billing = _billing(job)
    demo.confirm(
        job.status == "succeeded" and read.parts > 1 and _content(job).startswith(read.text),
        f"{read.parts} parts: the first after {read.first:.2f} s, the last and the end after {read.whole:.1f} s",
        f"a streamed answer: {job.status}, {read.parts} parts, and its output is not what was read",
    )
    price, units = screen.price(billing.price), billing.units or 0
    reported = f"{job.charged} tokens charged: {price}, and the tool reported {units:g}"
    demo.confirm(_due(billing, units) == job.charged, reported, f"{job.charged} tokens were charged for {units} units")


def _cancel(demo: Demo) -> Job:
    demo.screen.title("Another one, canceled in the middle")
    _, _, question, longer = ASKED[demo.talker]
    job, read = _asked(demo, question, ENOUGH, **longer)
    billing = _billing(job)
    demo.confirm(
        (job.status, billing.basis) == ("canceled", "metered") and _content(job).startswith(read.text),
        f"canceled after {len(_content(job))} characters: they are its output, and {job.charged} tokens its charge",
        f"a canceled answer: {job.status}, {billing.basis}, and its output is not what was read",
    )
    texts = {"published": _content(job), "in the input": question}
    units = sum(_counted(billing.price, text) for text in texts.values())
    demo.screen.say("[dim]basis metered: no usage was reported yet, so the price's meter counts[/]")
    demo.screen.show(_bill(billing.price, texts, units))
    demo.confirm(
        (_due(billing, units), billing.units) == (job.charged, units),
        "computed here, by the rule in the catalogue, from what was published",
        f"the meter comes to {units} units, but {billing.units} and {job.charged} tokens are charged",
    )
    return job


def _asked(demo: Demo, question: str, enough: int | None = None, **options: int) -> tuple[Job, Reading]:
    """Submit and read to the end; cancel after `enough` characters."""
    named = ASKED[demo.talker][0]
    job = Job(demo.talker, {"model": named, "messages": [{"role": "user", "content": question}], **options})
    demo.screen.say(f"[dim]{named}:[/] {escape(question)}")
    began = time.monotonic()
    submitted = job.submit(demo.client, stream=True, max_tokens=MOST)
    demo.extras.append(job)
    with demo.screen.writing() as writing:
        read = _read(demo, submitted, writing, began, enough)
        job.saw(submitted.invocation)
        writing.text = _content(job)
    if not job.ended:
        demo.expect(False, f"a stream of {named} broke off")
    return job, read


def _read(demo: Demo, submitted: Submitted, writing: Writing, began: float, enough: int | None) -> Reading:
    read = Reading()
    with suppress(InvocationEnded):  # canceled; whoever asked looks at the end
        for part in submitted.stream(LONGEST_SECONDS):
            demo.keep_up()
            read.first = read.first or time.monotonic() - began
            read.parts += 1
            read.text = writing.text = part.text if part.replaces else read.text + part.text
            if enough is not None and len(read.text) >= enough:
                enough = None
                submitted.cancel()
    read.whole = time.monotonic() - began
    return read


def _content(job: Job) -> str:
    return str((job.output or {"choices": [{"message": {}}]})["choices"][0]["message"].get("content"))


def _billing(job: Job) -> models.Billing:
    if job.invocation is None:
        raise AssertionError("it was submitted")
    return job.invocation.billing


# -- what it costs ---------------------------------------------------------------------------------------------


def _divisor(price: models.Price) -> int:
    return price.metered.chars_per_unit if price.metered else 1


def _rate(price: models.Price) -> float:
    return price.per_unit.tokens if price.per_unit else 0


def _counted(price: models.Price, text: str) -> int:
    """Units of a text by the meter of a price."""
    return -(-len(text) // _divisor(price))


def _due(billing: models.Billing, units: float) -> int:
    """The charge by the price: all of these are whole numbers here."""
    return int(min(billing.price.base_tokens + _rate(billing.price) * units, billing.held))


def _bill(price: models.Price, texts: dict[str, str], units: int) -> Table:
    rate, divided = _rate(price), f"÷ {_divisor(price)}, rounded up"
    rows = screen.table("characters", "", divided, right=("characters", divided))
    for what, text in texts.items():
        rows.add_row(f"{len(text):,}", what, f"{_counted(price, text):,}")
    due = price.base_tokens + rate * units
    rows.add_row("", Text(f"{price.base_tokens} + {rate:g} × {units:,} tokens", "bold"), Text(f"{due:,g}", "bold"))
    return rows

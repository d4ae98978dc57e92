"""The demo's scenario, step by step. Each step does something real, shows the result, and checks it."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

from rich.markup import escape
from rich.text import Text

from dev.demo import screen, streamed, texts, work
from dev.demo.scenario import Demo
from dev.demo.work import Job
from joyfull import WaitTimeout
from joyfull.codes import ToolInputRejected

PLAN = "free"
WEBHOOK_SECONDS = 15.0
EXTRA_SECONDS = 20.0
SHOWN_LANGUAGES = 12
OTHER_COLUMNS = 50


def tell(demo: Demo) -> None:
    """Run the whole scenario. Raises `JoyfullError` when it cannot continue."""
    join(demo)
    look_around(demo)
    listen(demo)
    work_through(demo)
    show_results(demo)
    streamed.tell(demo)
    fail(demo)
    check_webhooks(demo)
    show_usage(demo)


# -- arriving ------------------------------------------------------------------------------------------------


def join(demo: Demo) -> None:
    demo.screen.title("A new user signs up")
    user = demo.client.account.register(email=demo.email, password=demo.password, name="Ada Lovelace")
    demo.screen.done(f"{user.name} registered as [bold]{demo.email}[/] and logged in")
    demo.screen.show(screen.plans(demo.client.subscription.plans()))
    tokens = demo.client.subscription.subscribe(plan=PLAN).tokens
    demo.screen.done(f"subscribed to [bold]{PLAN}[/]: {tokens.available or 0:,} tokens available this month")


def look_around(demo: Demo) -> None:
    demo.screen.title("The catalogue")
    offered = sorted(demo.client.tools.list(), key=lambda tool: (tool.category or "", tool.slug))
    demo.screen.show(screen.tools(offered))
    missing = {demo.talker, *(job.tool for job in work.everything())} - {tool.slug for tool in offered}
    demo.expect(not missing, f"the catalogue lacks {', '.join(sorted(missing))}")


def listen(demo: Demo) -> None:
    demo.receiver.secret = demo.client.webhooks.create(url=demo.receiver.url, events=["completed"]).secret
    demo.screen.done(f"a webhook to {demo.receiver.url}; its signing secret is shown only once")


# -- working -------------------------------------------------------------------------------------------------


def work_through(demo: Demo) -> None:
    demo.jobs = work.everything()
    demo.screen.title(f"{len(demo.jobs)} invocations through the API, the queue and the workers")
    with demo.screen.board(demo.jobs) as board:

        def watch() -> None:
            board.watch()
            demo.keep_up()

        seconds = work.run(demo.client, demo.receiver, demo.jobs, watch)
    for job in demo.jobs:
        demo.expect(not job.failure, f"{job.tool} {job.id or '(never accepted)'} by {job.way}: {job.failure}")
        demo.expect(not job.ended or job.status == "succeeded", f"{job.tool} {job.id} {job.status}: {_why(job)}")
    done = Counter(job.way for job in demo.jobs if job.ended)
    ways = f"{done['long-poll']} by long-poll, {done['stream']} by server-sent events, {done['webhook']} by webhook"
    demo.screen.done(f"all results received after {seconds:.1f} s: {ways}")
    retried = [job for job in demo.jobs if job.tool == "flaky" and job.invocation and job.invocation.attempts > 1]
    if retried:
        demo.screen.done(f"{len(retried)} calls of [bold]flaky[/] failed at first and were retried, charged once")


def _why(job: Job) -> str:
    error = job.invocation and job.invocation.error
    return f"{error.code}: {error.detail}" if error else "without an error"


def show_results(demo: Demo) -> None:
    demo.screen.title("Results")
    _show_languages(demo)
    _show_sentiments(demo)
    found = screen.table("text", "keywords and summaries", wrap=["keywords and summaries"])
    for job in _succeeded(demo, "keywords"):
        words = [entry["keyword"] for entry in job.output["keywords"]]
        found.add_row(job.author, Text(", ".join(words), "cyan"))
    for job in _succeeded(demo, "summary"):
        found.add_row(f"{job.author}, in a sentence", Text(job.output["summary"], "cyan"))
    demo.screen.show(found)


def _show_languages(demo: Demo) -> None:
    names = {code: name for code, name, _, _ in texts.LANGUAGES}
    jobs = _succeeded(demo, "language")
    rows = screen.table("text", "author", "language", "confidence", right=("confidence",))
    for job in jobs[:SHOWN_LANGUAGES]:
        found = job.output["language"]
        confidence = f"{job.output['confidence']:.0%}"
        rows.add_row(_clipped(demo, job), job.author, Text(names.get(found, found), "cyan"), confidence)
    demo.screen.show(rows)
    right = sum(job.output["language"] == job.expected for job in jobs)
    sent = len(texts.LANGUAGES)
    demo.confirm(right == sent, f"{right} of {sent} languages correct", f"only {right} of {sent} languages are correct")


def _show_sentiments(demo: Demo) -> None:
    rows = screen.table("text", "author", "expected", "model", "score", right=("score",))
    for job in _succeeded(demo, "sentiment"):
        output = job.output
        style = "cyan" if output["label"] == job.expected else "yellow"
        rows.add_row(
            _clipped(demo, job), job.author, job.expected, Text(output["label"], style), f"{output['score']:+.2f}"
        )
    demo.screen.show(rows)


def _clipped(demo: Demo, job: Job) -> str:
    """The text, truncated to leave room for the other columns."""
    room = max(20, min(60, demo.screen.width - OTHER_COLUMNS))
    words = str(job.input["text"])
    return words if len(words) <= room else f"{words[: room - 1].rstrip()}…"


def _succeeded(demo: Demo, tool: str) -> list[Job]:
    return [job for job in demo.jobs if job.tool == tool and job.status == "succeeded"]


# -- errors ----------------------------------------------------------------------------------------------------


def fail(demo: Demo) -> None:
    demo.screen.title("Failures cost nothing")
    _repeat_submit(demo)
    _send_invalid_input(demo)
    _be_rejected_by_tool(demo)
    _cancel(demo)


def _repeat_submit(demo: Demo) -> None:
    job = demo.jobs[0]
    again = demo.client.submit(job.tool, job.input, idempotency_key=job.key)
    same = again.id == job.id and again.replayed
    demo.confirm(same, "the same Idempotency-Key again: the same invocation", "a repeated key created a new invocation")


def _send_invalid_input(demo: Demo) -> None:
    try:
        demo.client.submit("language", {"txet": "Hello"})
    except ToolInputRejected as refusal:
        what = f"{refusal.status} {refusal.code}"
        demo.screen.done(f"an input with a typo: {what}, before anything is held or queued")
    else:
        demo.expect(False, "an invalid input was accepted")


def _be_rejected_by_tool(demo: Demo) -> None:
    job = _extra(demo, "sentiment", {"text": texts.LANGUAGES[1][3]})
    error = job.invocation and job.invocation.error
    code, detail = (error.code, escape(error.detail)) if error else ("", "")
    demo.confirm(
        (job.status, code, job.charged) == ("failed", "tool_error", 0),
        f"German for the English sentiment tool: {job.status}, {code}, 0 tokens  [dim]{detail}[/]",
        f"an input rejected by the tool: {job.status}, {code}, {job.charged} tokens",
    )


def _cancel(demo: Demo) -> None:
    job = _extra(demo, "patience", {"seconds": 30}, cancel=True)
    demo.confirm(
        (job.status, job.charged) == ("canceled", 0),
        f"a call of 30 s, canceled immediately: {job.status}, 0 tokens",
        f"a canceled call is {job.status}, {job.charged} tokens, after {EXTRA_SECONDS:.0f} s",
    )


def _extra(demo: Demo, tool: str, given: dict[str, object], *, cancel: bool = False) -> Job:
    job = Job(tool, given)
    submitted = job.submit(demo.client)
    demo.extras.append(job)
    if cancel:
        submitted.cancel()
    with suppress(WaitTimeout):  # whoever asked looks at how far it is
        submitted.wait(EXTRA_SECONDS)
    job.saw(submitted.invocation)
    return job


# -- settling up ---------------------------------------------------------------------------------------------


def check_webhooks(demo: Demo) -> None:
    demo.screen.title("Webhooks")
    everything = [job for job in (*demo.jobs, *demo.extras) if job.id]
    try:
        received = [demo.receiver.wait_for(job.id, WEBHOOK_SECONDS) for job in everything]
    except TimeoutError as late:
        demo.expect(False, str(late))
        return
    same = all(message.status == job.status for message, job in zip(received, everything, strict=True))
    demo.expect(same, "a webhook reported a different status than the API")
    demo.confirm(
        demo.receiver.refused == 0,
        f"{len(received)} of {len(everything)} webhooks received; every signature verified by an independent library",
        f"{demo.receiver.refused} webhooks were not signed with the endpoint's secret",
    )
    demo.confirm(
        not demo.receiver.accepts_forgeries(),
        "a copy with one bit flipped: the signature is invalid",
        "a forged webhook passed verification",
    )


def show_usage(demo: Demo) -> None:
    demo.screen.title("Usage")
    paid = sum(job.charged for job in (*demo.jobs, *demo.extras))
    summary = demo.client.usage.summary(group_by="tool")
    demo.screen.show(screen.usage(summary.groups))
    tokens = demo.client.subscription.current().tokens
    demo.screen.show(screen.balance(tokens))
    sums = (paid, summary.totals.tokens_used, tokens.charged)
    demo.confirm(
        len(set(sums)) == 1 and tokens.held == 0,
        f"the invocations, the usage history and the balance agree: {paid:,} tokens, nothing held",
        f"invocations, usage history and balance differ: {sums}, and {tokens.held} tokens are held",
    )
    balanced = tokens.granted == tokens.charged + tokens.held + (tokens.available or 0)
    demo.expect(balanced, f"the balance does not add up: {tokens}")

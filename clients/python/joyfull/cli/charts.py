"""Usage as bars: by time in one line, and by group below it. Each bar stands beside its number."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from joyfull import models
from joyfull.cli.terminal import Terminal

LEVELS = " ▁▂▃▄▅▆▇█"
#: Cells of the longest bar, and what is too short for one.
LONGEST, SHORTEST = 24, 4
#: Lines of a chart are not longer, however wide the terminal is, or if what is written to is none.
WIDEST = 120
#: The share of failures is shown from this width on.
WIDE = 80


def sparkline(numbers: Sequence[int]) -> str:
    """A bar of eight heights for each number."""
    highest = max(numbers, default=0) or 1
    return "".join(LEVELS[-(-8 * number // highest)] for number in numbers)


def bar(part: int, whole: int, width: int) -> str:
    """A bar of up to `width` cells; one for the smallest part."""
    return "█" * (-(-width * part // whole) if whole else 0)


def percent(part: int, whole: int) -> str:
    """A share in percent, to a tenth; never 0.0 of something."""
    share = 100 * part / max(whole, 1)
    return "< 0.1 %" if 0 < share < 0.05 else f"{share:.1f} %"


def usage_chart(terminal: Terminal, report: models.UsageReport, tokens: models.Balance) -> None:
    """Both charts, and what the period has left."""
    width = min(terminal.out.width, WIDEST)
    terminal.out.print(_by_time(report, width))
    share = f" of {tokens.granted:,} ({percent(tokens.charged, tokens.granted)})" if tokens.granted else ""
    terminal.out.print(f"charged {tokens.charged:,}{share}, resets {tokens.resets_at:%d %b}")
    for line in _by_group(report.groups, report.group_by or "", width):
        terminal.out.print(line)


def _by_time(report: models.UsageReport, width: int) -> Text:
    shown = report.series[-max(10, width - 50) :]
    if not shown:
        return Text("tokens  none")
    pattern = "%d %b %H:%M" if report.bucket == "hour" else "%d %b"
    first, last = f"{shown[0].start:{pattern}}", f"{shown[-1].start:{pattern}}"
    line = Text.assemble("tokens  ", f"{first} ", (sparkline([point.tokens_used for point in shown]), "cyan"))
    return line.append(f" {last}") if last != first else line


def name_of(key: str | None, by: str) -> str:
    """What a group is of; runs without a key were made with a session."""
    return key or ("(session)" if by.startswith("api_key") else "(none)")


def _by_group(groups: Sequence[models.UsageGroup], by: str, width: int) -> list[Text]:
    names = [name_of(group.key, by) for group in groups]
    numbers = [f"{group.tokens_used:,}" for group in groups]
    left, right = max(map(len, names), default=0), max(map(len, numbers), default=0)
    room, facts = _beside(groups, width - left - right - 2, wide=width >= WIDE)
    whole = max((group.tokens_used for group in groups), default=0)
    lines = []
    for name, number, fact, group in zip(names, numbers, facts, groups, strict=True):
        filled = bar(group.tokens_used, whole, room)
        rest = f" {number}" if filled else number
        padded = f"{rest:{room + 1 + right - len(filled)}}{fact}".rstrip()
        lines.append(Text.assemble(f"{name:{left}} ", (filled, "cyan"), padded))
    return lines


def _beside(groups: Sequence[models.UsageGroup], room: int, *, wide: bool) -> tuple[int, list[str]]:
    """The cells that are left for bars, and what stands behind each; nothing where there is no room for it."""
    p95 = _aligned([f"p95 {group.latency_p95_ms:,} ms" if group.latency_p95_ms else "" for group in groups])
    failed = _aligned([f"{percent(group.failed, group.invocations)} failed" for group in groups])
    for facts in ([a + b for a, b in zip(failed, p95, strict=True)] if wide else p95, p95):
        left = room - max(map(len, facts), default=0)
        if left >= SHORTEST:
            return min(LONGEST, left), facts
    return max(SHORTEST, min(LONGEST, room)), [""] * len(groups)


def _aligned(texts: list[str]) -> list[str]:
    widest = max(map(len, texts), default=0)
    return [f"   {text:>{widest}}" for text in texts]

"""The texts of mails: Jinja templates. The first line is the subject, and blank lines separate the paragraphs.

Both forms of a mail come from the one text. What a template inserts stays within its line, whoever wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True, slots=True)
class MailContent:
    """A mail to `recipient`, as plain text and as HTML without external resources."""

    recipient: str
    subject: str
    text: str
    html: str


def _one_line(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


_environment = Environment(  # noqa: S701  # plain text; `_html` escapes it
    loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, finalize=_one_line
)


def render(template: str, recipient: str, **data: object) -> MailContent:
    """The mail of a template (`templates/<name>.txt`); `link`, if there is one, has a paragraph of its own."""
    rendered = _environment.get_template(f"{template}.txt").render(data)
    subject, *paragraphs = (part.strip() for part in rendered.split("\n\n"))
    return MailContent(recipient, subject, "\n\n".join(paragraphs) + "\n", _html(paragraphs, data.get("link")))


def _html(paragraphs: list[str], link: object) -> str:
    tags = [f"<code>{escape(part)}</code>" if part == link else escape(part) for part in paragraphs]
    body = "\n".join(f"<p>{tag}</p>" for tag in tags)
    return f'<!doctype html>\n<html lang="en"><body style="font-family: sans-serif">\n{body}\n</body></html>\n'

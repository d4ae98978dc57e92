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


def render(template: str, recipient: str, *, page: object = None, **data: object) -> MailContent:
    """The mail of a template (`templates/<name>.txt`).

    `page` and `link`, if there are any, have paragraphs of their own: a page to open, and an address of the API.
    """
    rendered = _environment.get_template(f"{template}.txt").render(page=page, **data)
    subject, *paragraphs = (part.strip() for part in rendered.split("\n\n"))
    return MailContent(recipient, subject, "\n\n".join(paragraphs) + "\n", _html(paragraphs, page, data.get("link")))


def _html(paragraphs: list[str], page: object, link: object) -> str:
    body = "\n".join(f"<p>{_tagged(escape(part), part == page, part == link)}</p>" for part in paragraphs)
    return f'<!doctype html>\n<html lang="en"><body style="font-family: sans-serif">\n{body}\n</body></html>\n'


def _tagged(text: str, is_page: bool, is_link: bool) -> str:
    if is_page:
        return f'<a href="{text}">{text}</a>'
    return f"<code>{text}</code>" if is_link else text

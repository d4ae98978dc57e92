"""A credential that a tool echoes over several chunks: no part of it is ever given out, wherever they are cut."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from common.kit.redaction import REDACTED, pattern_of, redacted
from common.tools.adapters.stream_redaction import Choices, Pieces, Secrets
from common.tools.streamed import Assembly

ESCAPES = (
    "{}",
    "\\{}",
    "\\u{:04x}",
    "\\\\u{:04X}",
    "\\x{:02x}",
    "\\u{{{:x}}}",
    "\\\\x{{{:06X}}}",
    "%{:02X}",
    "%25{:02x}",
    "&#{};",
    "&#x{:X};",
    "&amp;#{};",
)
SECRETS = (
    "sk-ab%41&x",
    "sk-sk-skk",
    "aaaaaaa",
    'quo"te\\d',
    "grün-käse",
    "YWxhZGRpbjpvcGVu==",
    "Bearer sk-1",
    "a=b&amp;c",
)
#: What might be taken for a secret, or for the beginning of an escape.
ALIKE = (
    "sk-",
    "a",
    "%",
    "%2",
    "%25",
    "&",
    "&am",
    "&#",
    "\\",
    "\\u00",
    "\\u{",
    "Bearer ",
    "=",
    " ",
    "\n",
    "é",
    "%C3",
    "%C3%A9",
)


@st.composite
def spelled(draw: st.DrawFn, secret: str) -> str:
    """The secret as some program may have written it."""
    return "".join(_escaped(draw, character) for character in secret)


def _escaped(draw: st.DrawFn, character: str) -> str:
    if draw(st.booleans()) or ord(character) > 127:
        return character
    escape = draw(st.sampled_from(ESCAPES))
    if escape == "\\{}" and (character.isalnum() or character in " _\\"):
        return character
    return escape.format(character if escape in ("{}", "\\{}") else ord(character))


@st.composite
def echoes(draw: st.DrawFn) -> tuple[str, str]:
    """A secret, and a text that has it, or what looks like it, here and there."""
    secret = draw(st.sampled_from(SECRETS))
    beginning = st.integers(1, len(secret) - 1).map(lambda size: secret[:size])
    pieces = st.one_of(spelled(secret), beginning, st.sampled_from(ALIKE), st.text(max_size=3))
    return secret, "".join(draw(st.lists(pieces, max_size=6)))


def given_out(secret: str, text: str, cuts: list[int]) -> list[str]:
    """All that was given out, after each piece."""
    pieces, so_far, shown = Pieces(Secrets([secret])), "", []
    for start, end in pairwise([0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]):
        so_far += pieces.add(text[start:end])
        shown.append(so_far)
    return [*shown, so_far + pieces.rest()]


@settings(max_examples=250)
@given(echoes(), st.lists(st.integers(0, 200), max_size=12))
@example(("sk-ab%41&x", "sk-ab%2541&x"), [5, 6, 7, 8, 9])
@example(("YWxhZGRpbjpvcGVu==", "YWxhZGRpbjpvcGVu== is it"), [16, 17, 18])
@example(("grün-käse", "gr%C3%BCn-k%C3%A4se"), [4, 5, 6, 14])
@example(("Bearer sk-1", "%Bearer sk-\\u0031"), [3])
@example(("sk-sk-skk", "\\%2573k-sk\\u002dskk"), [1, 2, 3])
@example(("Bearer sk-1", "Bearer\\u{20}sk-\\x{000031}"), [6, 7, 8, 9, 10, 14, 18, 21, 22])
def test_what_was_given_out_is_how_the_redacted_text_begins(echo: tuple[str, str], cuts: list[int]) -> None:
    secret, text = echo
    whole = redacted(text, pattern_of([secret]))
    *shown, last = given_out(secret, text, cuts)
    assert isinstance(whole, str) and last == whole
    assert all(whole.startswith(each) for each in shown)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_redacted_letter_by_letter(secret: str) -> None:
    text = f"My key is {secret}, is it?"
    *_, last = given_out(secret, text, list(range(len(text))))
    assert last == f"My key is {REDACTED}, is it?"


def test_what_is_no_secret_is_given_out_at_once() -> None:
    """Only what may be the beginning of one is late."""
    text = "No secret, but it has an s or two, and ends with one: ks"
    *shown, last = given_out("sk-12345", text, list(range(len(text))))
    assert shown == [text[:size].removesuffix("s") for size in range(len(text) + 1)]
    assert last == text


def delta(index: int, /, finish_reason: str | None = None, **members: object) -> dict[str, object]:
    return {"index": index, "delta": members, "finish_reason": finish_reason}


def test_every_text_of_every_choice_is_one_of_its_own() -> None:
    """Content, reasoning, and the arguments of each tool call, of two choices that are told in turn."""
    chunks: list[list[dict[str, object]]] = [
        [delta(0, role="assistant", content="a sk-")],
        [delta(1, content="12345 is none"), delta(0, reasoning="sk-12")],
        [delta(0, tool_calls=[{"index": 0, "id": "t", "function": {"arguments": '{"a": "sk-1'}}])],
        [delta(0, tool_calls=[{"index": 1, "id": "u", "function": {"arguments": "sk-1"}}])],
        [delta(0, tool_calls=[{"index": 0, "function": {"arguments": '2345"}'}}], content="12345")],
        [delta(1, content=" sk-1234"), delta(0, reasoning="3 and sk-")],
        [delta(0, "stop", content="!"), {"index": 0, "delta": {"sk-12345": 1}}],
        [delta(1, "stop")],
    ]
    choices, answer = Choices(["sk-12345"]), Assembly()
    for chunk in chunks:
        answer.write(choices.redacted(chunk))
    assert choices.rest() == []
    [first, second] = [choice["message"] for choice in answer.choices()]
    assert first == {
        "role": "assistant",
        "content": f"a {REDACTED}!",
        "reasoning": "sk-123 and sk-",
        "tool_calls": [
            {"index": 0, "id": "t", "function": {"arguments": f'{{"a": "{REDACTED}"}}'}},
            {"index": 1, "id": "u", "function": {"arguments": "sk-1"}},
        ],
        REDACTED: 1,
    }
    assert second == {"content": "12345 is none sk-1234"}

"""Canonical JSON as RFC 8785 has it: its own examples, and a second implementation that shares nothing with ours."""

from __future__ import annotations

import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.kit import jcs
from examples import verify_receipt

#: RFC 8785, appendix B.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}
#: Where the form of a number changes.
EDGES = (1e-7, 9.99e-7, 1e-6, 1e-5, 1e15, 2.0**53, 1e16, 1e20, 1e21, 1.5, 100.0)


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_in_the_rfc(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert jcs.canonical([value]).decode() == f"[{text}]" == verify_receipt.canonical([value])


def test_members_and_texts_are_written_as_in_the_rfc() -> None:
    """§3.2.2 and §3.2.3: keys by UTF-16 code units, an astral character before one of the private use area."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": '€$\u000f\nA\'B"\\\\"/',
        "literals": [None, True, False],
        "\ufb33": 1,
        "😀": 2,
    }
    assert jcs.canonical(value).decode() == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/","😀":2,"\ufb33":1}'
    )


def test_integers_are_doubles_and_what_no_double_holds_is_refused() -> None:
    assert jcs.canonical([2**53 + 1, 10**21, -(10**20)]) == b"[9007199254740992,1e+21,-100000000000000000000]"
    for beyond in (10**400, float("inf"), float("nan")):
        with pytest.raises(jcs.NotCanonical):
            jcs.canonical({"n": [beyond]})


numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**25), 10**25),
    st.sampled_from(EDGES).flatmap(lambda edge: st.floats(edge * 0.99, edge * 1.01)),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(st.characters(codec="utf-8"))),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(st.characters(codec="utf-8")), inner)),
    max_leaves=10,
)


@settings(max_examples=100)
@given(values)
def test_another_implementation_agrees(value: object) -> None:
    written = jcs.canonical(value).decode()
    assert written == verify_receipt.canonical(value)
    assert jcs.canonical(json.loads(written)).decode() == written, "canonical once is canonical for good"

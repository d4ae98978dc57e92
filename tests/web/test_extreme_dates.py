"""Points in time at both ends of what can be written, with and without offsets: an answer or a refusal, no error."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise, product
from typing import Final

import pytest

from common.identity import keys
from common.identity.audit import OPERATOR
from common.kit import clock
from common.usage import ranges
from tests import factories
from tests.console.conftest import Browser, admin, app, browser

__all__ = ["admin", "app", "browser"]

INSTANTS: Final = (
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "0001-01-01T00:30:00-00:30",
    "1969-12-31T23:59:59.999999Z",
    "9999-12-01T00:00:00Z",
    "9999-12-31T23:30:00Z",
    "9999-12-31T23:59:59.999999-14:00",
)
DAYS: Final = ("0001-01-01", "0001-01-02", "9999-12-01", "9999-12-31")
LOCAL: Final = ("0001-01-01T00:00", "0001-01-31T00:00", "9999-12-31T23:59:59")
#: East and west of UTC; one that has changed its offset.
ZONES: Final = ("UTC", "Pacific/Kiritimati", "America/New_York")
ENDPOINT: Final = "01a22b95-a6b7-73b7-a653-cc9c5879a1ed"
API: Final = (
    ("/invocations", "from", "to"),
    ("/invocations/failures", "from", "to"),
    ("/usage", "from", "to"),
    ("/usage/summary", "from", "to"),
    ("/usage/summary?bucket=hour", "from", "to"),
    ("/usage/summary?bucket=month&group_by=tool", "from", "to"),
    ("/usage/export", "from", "to"),
    ("/events", "from", ""),
)
PAGES: Final = (
    ("/runs", "since", "until"),
    ("/runs?group=error", "since", "until"),
    ("/usage", "from", "to"),
    ("/usage?bucket=hour", "from", "to"),
    ("/usage?bucket=month&by=tool", "from", "to"),
    ("/usage/export", "from", "to"),
    (f"/webhooks/{ENDPOINT}/replay", "since", ""),
)
ADMIN: Final = (
    ("/admin", "from", "to"),
    ("/admin?bucket=hour", "from", "to"),
    ("/admin?bucket=month", "from", "to"),
    ("/admin/audit", "from", "to"),
)


def asked(path: str, first: str, last: str, values: tuple[str, ...]) -> list[str]:
    """The path with each value as each bound, and with each two that follow each other as both."""
    one = [{name: value} for name, value in product((first, last), values) if name]
    both = [{first: low, last: high} for low, high in pairwise(values)] if last else []
    joint = "&" if "?" in path else "?"
    return [f"{path}{joint}" + "&".join(f"{k}={v}".replace("+", "%2B") for k, v in each.items()) for each in one + both]


@pytest.mark.parametrize(("path", "first", "last"), API, ids=[path for path, _, _ in API])
def test_lists_of_the_api(browser: Browser, path: str, first: str, last: str) -> None:
    assert browser.customer
    browser.customer.submit(factories.tool())
    _, key = keys.create(browser.customer.user_id, "dates", actor=OPERATOR)
    answers = {
        each: browser.http.get(f"/api/v1{each}", headers={"X-API-Key": key}, buffered=True).status_code
        for each in asked(path, first, last, INSTANTS)
    }
    assert {each: status for each, status in answers.items() if status not in (200, 422)} == {}
    assert 200 in answers.values()


def errors_of(browser: Browser, paths: tuple[tuple[str, str, str], ...]) -> dict[str, int]:
    """What is answered with anything but a page or a refusal, by zone and path."""
    found = {}
    for zone, path in product(ZONES, paths):
        browser.http.set_cookie("hub-zone", zone, path="/console")
        for each in asked(*path, (*DAYS, *(INSTANTS if zone == "UTC" else LOCAL))):
            if (status := browser.ask(each, buffered=True).status_code) not in (200, 404, 422):
                found[f"{zone} {each}"] = status
    return found


@pytest.mark.parametrize("path", PAGES, ids=[path for path, _, _ in PAGES])
def test_pages(browser: Browser, path: tuple[str, str, str]) -> None:
    assert errors_of(browser, (path,)) == {}


def test_pages_of_admins(admin: Browser) -> None:
    assert errors_of(admin, ADMIN) == {}


def test_a_key_may_expire_at_the_end_of_time_and_is_shown_in_every_zone(browser: Browser) -> None:
    assert browser.customer
    made, _ = keys.create(
        browser.customer.user_id, "for good", actor=OPERATOR, expires_at=datetime.max.replace(tzinfo=UTC)
    )
    for zone in ZONES:
        browser.http.set_cookie("hub-zone", zone, path="/console")
        browser.get("/keys")
        browser.get(f"/keys/{made.id}/rotate")


def test_moments_are_written_with_four_digits_of_their_year() -> None:
    assert clock.rfc3339(datetime.min.replace(tzinfo=UTC)) == "0001-01-01T00:00:00.000000Z"
    assert clock.rfc3339(datetime.max.replace(tzinfo=UTC)) == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("grain", ranges.GRAINS)
def test_the_last_unit_is_followed_by_the_end(grain: str) -> None:
    begun = ranges.floor(ranges.LAST, grain)
    assert [*ranges.starts(begun, ranges.LAST, grain)] == [begun]

"""What Prometheus would read, as a test wants it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import requests
from prometheus_client.parser import text_string_to_metric_families


class Scrape:
    """One reading of `/metrics`. `value("name_total", tool="x")`: the sum over all series that have these labels."""

    def __init__(self, url: str) -> None:
        response = requests.get(f"{url}/metrics", timeout=20)
        assert response.status_code == 200, response.text[:500]
        self.families = list(text_string_to_metric_families(response.text))

    def series(self, name: str, **labels: str) -> Mapping[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        }

    def value(self, name: str, **labels: str) -> float:
        return sum(self.series(name, **labels).values())


def until(url: str, ready: Callable[[Scrape], bool], what: str, within: float = 30.0) -> Scrape:
    """Scrape until something answers and is `ready`."""
    give_up = time.monotonic() + within
    while True:
        with suppress(requests.ConnectionError):
            if ready(scrape := Scrape(url)):
                return scrape
        assert time.monotonic() < give_up, f"{what}: not seen in /metrics within {within:.0f} s"
        time.sleep(0.2)

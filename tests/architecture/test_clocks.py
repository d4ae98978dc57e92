"""What a test's clock does is not taken by a thread that another test has left behind."""

from __future__ import annotations

import threading

from common.kit import clock
from tests.timing import Gap, using


def test_a_gap_is_not_filled_by_a_thread_in_the_background() -> None:
    happened_in = list[threading.Thread]()
    left_behind = threading.Thread(target=clock.sleep, args=(0,), daemon=True)
    with using(Gap(lambda: happened_in.append(threading.current_thread()))):
        left_behind.start()
        left_behind.join()
        clock.sleep(0)
    assert happened_in == [threading.current_thread()]

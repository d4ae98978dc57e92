"""Rows of the matrix that the test suite shows, by the names of the tests."""

from __future__ import annotations

import re
from typing import Final

#: id → (what breaks, tests). `make faults` runs these tests too.
SHOWN: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "F21": (
        "RabbitMQ restarted, silent, its queue deleted (skipped where no RabbitMQ is installed)",
        ("tests/queue/test_rabbitmq.py",),
    ),
    "F83": (
        "one node of a RabbitMQ of three killed (skipped where no RabbitMQ is installed)",
        ("tests/queue/test_rabbitmq_cluster.py",),
    ),
    "F26": (
        "one key from several processes at once, and the maker of a key dies",
        (
            "tests/queue/test_idempotency.py::test_at_once_from_several_processes",
            "tests/queue/test_idempotency.py::test_a_server_process_that_is_killed_in_the_middle",
        ),
    ),
    "F27": (
        "clients that drip, stop early, or never read",
        (
            "tests/web/test_wire.py::test_a_body_that_drips",
            "tests/web/test_wire.py::test_a_body_that_ends_early",
        ),
    ),
    "F35": (
        "deadlocks and storms: many threads that end, take, cancel and expire",
        ("tests/queue/test_threads.py::test_nothing_left_over_and_nothing_twice",),
    ),
    "F42": (
        "submitters killed between hold and commit, many times",
        ("tests/budgets/test_exactness.py::test_submitters_that_are_killed_leave_nothing_behind",),
    ),
    "F47": (
        "month and year ends, leap days, other time zones",
        (
            "tests/subscriptions/test_months.py",
            "tests/subscriptions/test_renewal.py::test_unused_tokens_and_charges_stay_in_their_period",
            "tests/subscriptions/test_renewal.py::test_the_books_do_not_depend_on_when_somebody_looked",
        ),
    ),
    "F52": (
        "429 with every kind of Retry-After",
        (
            "tests/worker/test_tools.py::test_retry_after",
            "tests/worker/test_retries.py",
        ),
    ),
    "F53": (
        "usage of −1, 1e18, NaN, nothing; bodies that are no JSON",
        ("tests/worker/test_reading.py",),
    ),
    "F55": (
        "DNS: rebinding, time-outs, 300 answers, IPv6 only",
        (
            "tests/kit/test_outbound.py::test_rebinding_between_creation_and_connecting_is_refused",
            "tests/kit/test_outbound.py::test_a_name_that_hangs_costs_one_thread_and_delays_no_other",
            "tests/kit/test_outbound.py::test_the_next_address_is_tried_but_not_three_hundred",
            "tests/kit/test_outbound.py::test_ipv6_only",
        ),
    ),
    "F56": ("TLS: expired, wrong name, unknown authority, old versions", ("tests/kit/test_outbound_tls.py",)),
    "F58": (
        "an answer that contains our own secret, or a header of a megabyte",
        (
            "tests/worker/test_reading.py::test_our_own_secret_is_blotted_out_of_what_comes_back",
            "tests/kit/test_outbound.py::test_a_head_without_measure_is_refused",
        ),
    ),
    "F59": (
        "receivers down for a day",
        ("tests/webhooks/test_delivery.py::test_a_receiver_that_is_down_for_a_day_gets_everything_once_it_is_back",),
    ),
    "F60": (
        "half of the receivers hang",
        ("tests/webhooks/test_isolation.py::test_half_of_the_receivers_hang_and_the_others_do_not_notice",),
    ),
    "F61": (
        "410, 3xx, 429, 204, an endless answer",
        (
            "tests/webhooks/test_delivery.py::test_what_answers_mean",
            "tests/webhooks/test_delivery.py::test_gone_disables_the_endpoint_and_its_owner_is_mailed",
            "tests/webhooks/test_delivery.py::test_a_busy_receiver_says_when",
        ),
    ),
    "F63": (
        "the secret rotated between two tries",
        ("tests/webhooks/test_delivery.py::test_rotation_in_the_middle_of_the_retries",),
    ),
    "F64": (
        "five days of failure, re-enabling, replay",
        (
            "tests/webhooks/test_delivery.py::test_five_days_of_failing_disable_it_and_enabling_begins_anew",
            "tests/webhooks/test_delivery.py::test_what_was_given_up_comes_by_replay",
        ),
    ),
    "F67 F68": (
        "a migration under the code before it; migrators at once; a migration that is blocked by a long query",
        ("tests/ops/test_migrations.py",),
    ),
    "F71": (
        "two tabs refresh at once; a stolen token comes back",
        (
            "tests/accounts/test_sessions.py::test_racing_refreshes_get_the_same_pair",
            "tests/accounts/test_sessions.py::test_a_spent_token_that_comes_back_ends_its_session_and_no_other",
        ),
    ),
    "F72": (
        "logout and disabling, with Redis wiped in between",
        ("tests/accounts/test_sessions.py::test_the_end_is_at_once_in_every_process_and_survives_a_wiped_redis",),
    ),
    "F73": (
        "a credential whose key is gone",
        ("tests/worker/test_tools.py::test_a_credential_that_is_gone_is_not_replaced_by_nothing",),
    ),
}


def order(id_: str) -> tuple[int, str]:
    """F2 before F10."""
    match = re.search(r"\d+", id_)
    return (int(match[0]) if match else 0, id_)

"""An invocation, stage by stage, in the order of its life. Each stage has its SQL beside it.

    quote             what it would cost and whether it would be accepted             quoting.py, signed_quotes.py
    submit            accept it: every check, the hold, the row, the message          submitting.py, choosing.py
                      … or find what an earlier request has made                      replaying.py, joining.py
    claim             a worker gets the row that is due first                         claiming.py
    mark_dispatched   … records that a call goes out that must not be repeated
    complete          … records how it ended, settles, and claims the next            completing.py
                      … for several quick ones at once                                together.py
                      … or what a canceled stream had shown                           partial.py, showing.py
    retry_later       … or puts it back to wait                                       retrying.py
    give_back         … or hands it back unbegun
    cancel            the owner changes their mind, of one or of many                 canceling.py
    rerun             a new invocation with the input of one that was                 rerunning.py
    heartbeat         a worker process lives, and so do its answered calls            reclaiming.py
    take_over         rows of dead processes are requeued or completed
    sweeping          slots, deadlines and messages that were missed                  sweeping.py, placing.py
    get, listing, …   reading, and how an invocation looks in JSON                    reading.py, representation.py
    attempts, …       what was done for it: calls, deliveries                         history.py, waiting.py
    failures          what failed, by tool and error                                  failure_groups.py, failure_sums.py
    feed              the events of an account                                        events.py
    drop_payloads     retention                                                       retention.py

The row is the truth. Open work has a row in `queue`; the statement that completes an invocation deletes it there and
writes everything else that follows (SQL that several stages share: fragments.py).
"""

from common.invocations import counting, failure_sums, joining, storage, sweeping
from common.invocations.canceling import (
    CancelCounts,
    cancel,
    cancel_matching,
    cancel_queued,
    cancel_several,
    cancel_unread,
    forget_urls,
    held_by,
)
from common.invocations.choosing import check
from common.invocations.claiming import ClaimOptions, claim, claim_several, mark_dispatched
from common.invocations.completing import complete, complete_and_claim
from common.invocations.events import FeedEvent, feed
from common.invocations.failure_groups import FailureGroup, failures
from common.invocations.filters import Filters, Matching
from common.invocations.fragments import GRACE_SECONDS, MOST_AT_ONCE
from common.invocations.history import CallRow, Story, attempts, deliveries, story
from common.invocations.joining import CountedRequest
from common.invocations.keyed import account_of, visible
from common.invocations.model import COST_EXCEEDED, ENDS, Completion, Invocation, Order, Shown, Submitted, Task
from common.invocations.ordering import DEFAULT_EXPIRY, MAX_EXPIRY, SubmitFields, SubmitRules
from common.invocations.overload import announce, is_busy, refuse_if_overloaded
from common.invocations.partial import left_of
from common.invocations.quoting import Quote, quote
from common.invocations.reading import (
    beginnings,
    event_data,
    events_data,
    get,
    get_ended,
    get_within,
    listing,
    operator_details,
    states,
    traceparent,
)
from common.invocations.reclaiming import Heartbeat, Lease, heartbeat, leave, take_over
from common.invocations.replaying import made_under, occupy
from common.invocations.representation import billed, etag, poll_after_ms, priced, represent
from common.invocations.rerunning import Again, RerunPrice, rerun, rerun_price, rerun_prices
from common.invocations.retention import drop_payloads, drop_payloads_of, drop_unused_payloads
from common.invocations.retrying import give_back, retry_and_claim, retry_later
from common.invocations.showing import shown_so_far
from common.invocations.submitting import submit
from common.invocations.together import complete_together
from common.invocations.views import CONTENT
from common.invocations.waiting import REASONS as WAITING_REASONS
from common.invocations.writing import PERSIST_SECONDS

__all__ = [
    "CONTENT",
    "COST_EXCEEDED",
    "DEFAULT_EXPIRY",
    "ENDS",
    "GRACE_SECONDS",
    "MAX_EXPIRY",
    "MOST_AT_ONCE",
    "PERSIST_SECONDS",
    "WAITING_REASONS",
    "Again",
    "CallRow",
    "CancelCounts",
    "ClaimOptions",
    "Completion",
    "CountedRequest",
    "FailureGroup",
    "FeedEvent",
    "Filters",
    "Heartbeat",
    "Invocation",
    "Lease",
    "Matching",
    "Order",
    "Quote",
    "RerunPrice",
    "Shown",
    "Story",
    "SubmitFields",
    "SubmitRules",
    "Submitted",
    "Task",
    "account_of",
    "announce",
    "attempts",
    "beginnings",
    "billed",
    "cancel",
    "cancel_matching",
    "cancel_queued",
    "cancel_several",
    "cancel_unread",
    "check",
    "claim",
    "claim_several",
    "complete",
    "complete_and_claim",
    "complete_together",
    "counting",
    "deliveries",
    "drop_payloads",
    "drop_payloads_of",
    "drop_unused_payloads",
    "etag",
    "event_data",
    "events_data",
    "failure_sums",
    "failures",
    "feed",
    "forget_urls",
    "get",
    "get_ended",
    "get_within",
    "give_back",
    "heartbeat",
    "held_by",
    "is_busy",
    "joining",
    "leave",
    "left_of",
    "listing",
    "made_under",
    "mark_dispatched",
    "occupy",
    "operator_details",
    "poll_after_ms",
    "priced",
    "quote",
    "refuse_if_overloaded",
    "represent",
    "rerun",
    "rerun_price",
    "rerun_prices",
    "retry_and_claim",
    "retry_later",
    "shown_so_far",
    "states",
    "storage",
    "story",
    "submit",
    "sweeping",
    "take_over",
    "traceparent",
    "visible",
]

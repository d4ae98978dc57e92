"""The story of an invocation, in life order.

    submit       accept it: every check, the hold, the row, the message           submitting.py, storing.py
    claim        a worker takes whatever is due first                             running.py
    sending      … notes that a call goes out that must not be repeated
    end          … writes how it ended, settles, and takes the next
    retry_later  … or puts it back for a while
    give_back    … or hands it back unbegun
    cancel       the owner changes their mind
    get, listing, event_data, wire, etag                                          reading.py, wire.py
    counting     all of it, for Prometheus                                        counting.py
    sweeping     what died, waits too long, or was never heard of                 sweeping.py
    drop_payloads                                                                 retention.py

The row is the truth. `open` work has a row in `queue`; the statement that ends an invocation deletes it there and
writes everything else that follows from the end (`sql.py`).
"""

from common.invocations import counting, storage, sweeping
from common.invocations.model import COST_EXCEEDED, ENDS, End, Invocation, Order, Submitted, Task
from common.invocations.reading import (
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
from common.invocations.retention import drop_payloads, drop_unused_payloads
from common.invocations.running import (
    ClaimOptions,
    cancel,
    claim,
    end,
    give_back,
    heartbeat,
    in_hand,
    leave,
    retry_later,
    sending,
    take_over,
)
from common.invocations.submitting import account_of, check, submit
from common.invocations.wire import etag, poll_after_ms, wire

__all__ = [
    "COST_EXCEEDED",
    "ENDS",
    "ClaimOptions",
    "End",
    "Invocation",
    "Order",
    "Submitted",
    "Task",
    "account_of",
    "cancel",
    "check",
    "claim",
    "counting",
    "drop_payloads",
    "drop_unused_payloads",
    "end",
    "etag",
    "event_data",
    "events_data",
    "get",
    "get_ended",
    "get_within",
    "give_back",
    "heartbeat",
    "in_hand",
    "leave",
    "listing",
    "operator_details",
    "poll_after_ms",
    "retry_later",
    "sending",
    "states",
    "storage",
    "submit",
    "sweeping",
    "take_over",
    "traceparent",
    "wire",
]

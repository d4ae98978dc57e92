"""Webhooks: who wants to hear of what, what happened, and telling them until they have heard it.

    endpoints   receivers and their secrets, made and changed by their owners
    outbox      `record` a fact inside your transaction; the feed reads facts in order
    queue       take · delivered · retry_later · give_up, and the sweeps: the life of a delivery
    sending     one signed POST through the outbound client (signing: Standard Webhooks; schedule: when again)
    history     the log of deliveries, resend, replay, test, retention

The loop that takes, sends and ends is `worker/delivery.py`. Why it is built so: docs/decisions/outbox.md.
"""

from common.webhooks.endpoints import (
    Created,
    change,
    check_url,
    create,
    default_secret,
    endpoint,
    endpoints,
    remove,
    rotate_default_secret,
    rotate_secret,
)
from common.webhooks.history import Replay, Told, deliveries, prune, replay, resend, test
from common.webhooks.model import Attempt, Claim, Encrypted, Event
from common.webhooks.outbox import feed, record, repair_feed
from common.webhooks.queue import (
    BATCH,
    Room,
    delivered,
    disable_failing,
    expire_leases,
    give_back,
    give_up,
    notify_due,
    park,
    postpone,
    retry_later,
    take,
    unpark,
)
from common.webhooks.schedule import delay
from common.webhooks.sending import send
from common.webhooks.signing import new_secret, sign

__all__ = [
    "BATCH",
    "Attempt",
    "Claim",
    "Created",
    "Encrypted",
    "Event",
    "Replay",
    "Room",
    "Told",
    "change",
    "check_url",
    "create",
    "default_secret",
    "delay",
    "delivered",
    "deliveries",
    "disable_failing",
    "endpoint",
    "endpoints",
    "expire_leases",
    "feed",
    "give_back",
    "give_up",
    "new_secret",
    "notify_due",
    "park",
    "postpone",
    "prune",
    "record",
    "remove",
    "repair_feed",
    "replay",
    "resend",
    "retry_later",
    "rotate_default_secret",
    "rotate_secret",
    "send",
    "sign",
    "take",
    "test",
    "unpark",
]

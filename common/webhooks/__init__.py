"""Webhooks: endpoints, events, and their delivery with retries.

    endpoints   endpoints and their signing secrets
    outbox      `record` an event inside your transaction
    pulling     events in order, by cursor; whether there are new ones
    queue       claim_next · delivered · retry_later · give_up: the life of a delivery
    together    several successes in one statement that claims as many
    turns       deliveries per second, where an endpoint limits them
    sweeping    upkeep of the queue: full lanes, expired leases, failing endpoints
    sending     one signed POST through the outbound client (signing: Standard Webhooks; schedule: retry delays)
    condition   how endpoints are doing; what a replay would send; one delivery
    history     the log of deliveries, resend, replay, test, retention

The delivery loop is `worker/delivery.py`. Design: docs/decisions/outbox.md.
"""

from common.webhooks.condition import Health, Progress, delivery, health, health_of, progress, replayable
from common.webhooks.endpoints import (
    CreatedEndpoint,
    change,
    check_url,
    create,
    endpoint,
    endpoints,
    remove,
    remove_all,
    rotate_secret,
)
from common.webhooks.history import (
    DeliveryRecord,
    ReplayResult,
    deliveries,
    deliveries_of,
    prune,
    replay,
    resend,
    test,
    with_endpoint,
)
from common.webhooks.model import AttemptResult, Claim, Content, Encrypted, LaneCapacity, OutboxEvent
from common.webhooks.outbox import record
from common.webhooks.pulling import feed, feed_end, repair_feed, with_news
from common.webhooks.queue import BATCH, claim_next, delivered, give_up, postpone, release, retry_later
from common.webhooks.schedule import delay
from common.webhooks.secrets import default_secret, rotate_default_secret
from common.webhooks.sending import MAX_READ, send
from common.webhooks.signing import new_secret, sign
from common.webhooks.sweeping import disable_failing, expire_leases, notify_due, park, unpark
from common.webhooks.together import MOST_TOGETHER, delivered_together
from common.webhooks.turns import take_turn, unpark_one

__all__ = [
    "BATCH",
    "MAX_READ",
    "MOST_TOGETHER",
    "AttemptResult",
    "Claim",
    "Content",
    "CreatedEndpoint",
    "DeliveryRecord",
    "Encrypted",
    "Health",
    "LaneCapacity",
    "OutboxEvent",
    "Progress",
    "ReplayResult",
    "change",
    "check_url",
    "claim_next",
    "create",
    "default_secret",
    "delay",
    "delivered",
    "delivered_together",
    "deliveries",
    "deliveries_of",
    "delivery",
    "disable_failing",
    "endpoint",
    "endpoints",
    "expire_leases",
    "feed",
    "feed_end",
    "give_up",
    "health",
    "health_of",
    "new_secret",
    "notify_due",
    "park",
    "postpone",
    "progress",
    "prune",
    "record",
    "release",
    "remove",
    "remove_all",
    "repair_feed",
    "replay",
    "replayable",
    "resend",
    "retry_later",
    "rotate_default_secret",
    "rotate_secret",
    "send",
    "sign",
    "take_turn",
    "test",
    "unpark",
    "unpark_one",
    "with_endpoint",
    "with_news",
]

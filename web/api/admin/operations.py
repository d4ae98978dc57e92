"""`/admin/operations`, `/admin/books`: the state of the platform, and the verifications of its ledger."""

from __future__ import annotations

import marshmallow as ma
from flask import current_app

from common.kit.paging import Page
from common.models.ledger import LedgerVerification
from common.operations import overview, verifications
from common.operations.overview import Overview
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Flag, Id, Instant, Text, Tokens, Whole, Word
from web.http.pagination import ListArguments, ListQuery
from web.http.schemas import Resource

blp = Blueprint("admin_operations", __name__, url_prefix="/admin", description="The state of the platform")


class QueueSchema(Resource):
    running = Whole(required=True)
    ready = Whole(required=True, metadata={"description": "They have a slot, and wait for a worker."})
    waiting = Whole(required=True, metadata={"description": "They wait for a slot of their account, or for a time."})
    oldest_due_seconds = ma.fields.Float(required=True, attribute="oldest")
    held_tokens = Tokens(required=True, attribute="held")


class RunningCallSchema(Resource):
    invocation_id = Id(required=True, attribute="id")
    tool = Text(required=True)
    attempt = Whole(required=True)
    claimed_at = Instant(required=True)


class WorkerProcessSchema(Resource):
    id = Id(required=True, attribute="process.id")
    name = Text(required=True, attribute="process.name")
    started_at = Instant(required=True, attribute="process.started_at")
    heartbeat_at = Instant(required=True, attribute="process.heartbeat_at")
    progress_at = Instant(required=True, attribute="process.progress_at")
    is_alive = Flag(
        required=True,
        attribute="process.is_alive",
        metadata={"description": "Its heartbeat is at most 15 seconds old."},
    )
    stopping = Flag(required=True, attribute="process.stopping")
    running = ma.fields.List(ma.fields.Nested(RunningCallSchema), required=True)


class SweepSchema(Resource):
    name = Text(required=True)
    ran_at = Instant(required=True)
    duration_ms = Whole(required=True, attribute="milliseconds")
    runs = Whole(required=True)
    failures = Whole(required=True)


class PendingDeliveriesSchema(Resource):
    running = Whole(required=True)
    waiting = Whole(required=True)
    parked = Whole(required=True, metadata={"description": "Their receiver is at its limit."})
    oldest_due_seconds = ma.fields.Float(required=True, attribute="oldest")


class TrippedBreakerSchema(Resource):
    tool = Text(required=True)
    state = Word("open", "half_open", required=True, attribute="breaker.state")
    failures = Whole(required=True, attribute="breaker.failures")
    opened_at = Instant(required=True, allow_none=True, attribute="breaker.opened_at")
    retry_at = Instant(required=True, allow_none=True, attribute="breaker.retry_at")


class FindingSchema(Resource):
    name = Text(required=True)
    passed = Flag(required=True)
    detail = Text(required=True)


class DifferenceSchema(Resource):
    invariant = Text(required=True)
    where = Text(required=True)
    found = Text(required=True)


class LedgerVerificationSchema(Resource):
    id = Id(required=True)
    started_at = Instant(required=True)
    finished_at = Instant(required=True)
    invocations = Whole(required=True)
    periods = Whole(required=True)
    gates = Whole(required=True, metadata={"description": "Budget gates in Redis that were compared with the rows."})
    differences = Whole(required=True, metadata={"description": "0: the ledger was consistent."})
    examples = ma.fields.List(
        ma.fields.Nested(DifferenceSchema), required=True, metadata={"description": "The first 20 differences."}
    )


class MissingPartSchema(Resource):
    part = Text(required=True)
    reason = Text(required=True)


class OverviewSchema(Resource):
    as_of = Instant(required=True, metadata={"description": "Figures are kept for two seconds."})
    version = Text(required=True)
    queue = ma.fields.Nested(QueueSchema, required=True, allow_none=True)
    workers = ma.fields.List(ma.fields.Nested(WorkerProcessSchema), required=True, allow_none=True)
    sweeps = ma.fields.List(ma.fields.Nested(SweepSchema), required=True, allow_none=True)
    deliveries = ma.fields.Nested(PendingDeliveriesSchema, required=True, allow_none=True)
    breakers = ma.fields.List(
        ma.fields.Nested(TrippedBreakerSchema),
        required=True,
        allow_none=True,
        metadata={"description": "Those that are not closed."},
    )
    last_verification = ma.fields.Nested(
        LedgerVerificationSchema, required=True, allow_none=True, metadata={"description": "Null: there was none yet."}
    )
    findings = ma.fields.List(
        ma.fields.Nested(FindingSchema),
        required=True,
        allow_none=True,
        metadata={"description": "What `flask --app wsgi doctor` checks."},
    )
    unavailable = ma.fields.List(
        ma.fields.Nested(MissingPartSchema),
        required=True,
        metadata={"description": "The parts that could not be read (they are null), and why."},
    )


@blp.get("/operations")
@auth.admin
@blp.response(200, OverviewSchema)
def show() -> Overview:
    """The state of the platform

    The queue, workers and what they run, sweeps, deliveries, circuit breakers, the checks of `doctor`, and the last
    verification of the ledger. While a server is down, the parts that need it are null.
    """
    return overview.read(current_app.config["SETTINGS"])


@blp.get("/books")
@auth.admin
@blp.arguments(ListQuery, location="query")
@blp.page(LedgerVerificationSchema)
def books(query: ListArguments) -> Page[LedgerVerification]:
    """The nightly verifications of the ledger, newest first

    Each recomputes all balances from the rows, and compares them with what is stored and with Redis.
    """
    return verifications.listing(**query)

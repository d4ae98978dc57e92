"""Health, readiness and metrics, for operators."""

from __future__ import annotations

from flask import Response, current_app

from common import errors
from common.kit import metrics
from common.operations import gauges, readiness
from common.settings.version import VERSION
from web.api.blueprint import Blueprint
from web.http import auth
from web.http.fields import Text, Word
from web.http.responses import Shown
from web.http.schemas import Resource

metrics.at_scrape(gauges.Platform())
blp = Blueprint("operations", __name__, description="Health, readiness and metrics")


class HealthSchema(Resource):
    status = Word("ok", required=True)
    version = Text(required=True, metadata={"description": "The version that this process runs."})


class ReadinessSchema(Resource):
    status = Word("ready", required=True)


@blp.get("/health")
@auth.public
@blp.response(200, HealthSchema)
def health() -> Shown:
    """Whether the process is up

    Checks no dependencies. Restart the process if this does not respond.
    """
    return {"status": "ok", "version": VERSION}


@blp.get("/ready")
@auth.public
@blp.response(200, ReadinessSchema)
def ready() -> Shown:
    """Whether the process can serve

    Ready means: PostgreSQL and Redis respond, all migrations have been run, and the first admin named in the settings,
    if any, can log in. Otherwise 503, with the reasons in `not_ready`. Responds within three seconds even if a server
    hangs.
    """
    problems = readiness.problems(current_app.config["SETTINGS"])
    if problems:
        raise errors.DependencyUnavailable(f"Not ready: {', '.join(problems)}.", not_ready=problems)
    return {"status": "ready"}


@blp.get("/metrics")
@auth.public
@blp.response(200, content_type="text/plain", description="The Prometheus text format.")
@blp.raises(errors.NotFound)
def exposed() -> Response:
    """Prometheus metrics of all processes on this host and of the platform as a whole

    Available with the setting `EXPOSE_METRICS`.
    """
    if not current_app.config["SETTINGS"].expose_metrics:
        raise errors.NotFound
    return Response(metrics.exposition(), content_type=metrics.CONTENT_TYPE)

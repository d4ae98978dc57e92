"""`python -m worker.health`, for container health checks: exits with 0 if a worker on this host has a heartbeat.

It runs every few seconds for as long as its container, so it removes the metric files of the run before.
"""

from __future__ import annotations

import os
import sys

from common import settings
from common.kit import db, metrics
from common.operations import readiness


def main() -> None:
    """Exit with an error unless a worker process of this host has a recent heartbeat."""
    ours = settings.load_or_exit()
    metrics.fold()
    db.connect(ours.database_url, pool_size=1, application_name="joyfull-health", shared=ours.shares_connections)
    try:
        readiness.worker(os.uname().nodename)
    except (readiness.NotReady, db.Unreachable) as error:
        sys.exit(str(error) or type(error).__name__)


if __name__ == "__main__":
    main()

"""`python -m worker.health`: exits with 0 when a worker of this host has a pulse in the books. For health checks."""

from __future__ import annotations

import os
import sys

from common import settings
from common.kit import db
from common.operations import readiness


def main() -> None:
    db.connect(settings.load_or_exit().database_url, pool_size=1, application_name="joyfull-health")
    try:
        readiness.worker(os.uname().nodename)
    except (readiness.NotReady, db.Unreachable) as trouble:
        sys.exit(str(trouble) or type(trouble).__name__)


if __name__ == "__main__":
    main()

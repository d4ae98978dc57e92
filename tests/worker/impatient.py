"""Celery's command line, with a watchdog that is less patient: `python -m tests.worker.impatient -A worker.app …`."""

from __future__ import annotations

from celery.__main__ import main

from worker import watchdog

if __name__ == "__main__":
    for name, value in {"UNRESPONSIVE_CHECKS": 3, "STUCK_SECONDS": 1.0, "WARM_SECONDS": 2.0}.items():
        setattr(watchdog, name, value)
    main()

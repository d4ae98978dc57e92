"""Celery workers: run invocations, deliver webhooks, sweep. No Flask and no SQL."""

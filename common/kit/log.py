"""Logs: one JSON object per line (or readable columns), with request id, job id and user id bound as context.

Only bound context and named arguments are logged; values never come from a request body. Control characters are
escaped by JSON, and by `repr` in the console format.
"""

from __future__ import annotations

import logging
import sys
from contextlib import AbstractContextManager

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_NOISY = (
    "urllib3",
    "kombu",
    "amqp",
    "celery.bootsteps",
    "celery.worker.strategy",
    "celery.app.trace",
    "celery.utils.functional",
    "asyncio",
)


def configure(level: str, fmt: str, process: str) -> None:
    """Route every logger of this process, ours and the libraries', through one formatter to standard error."""
    _look_up_nothing_more()
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _with_process(process),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(sort_keys=False)
        if fmt == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def _look_up_nothing_more() -> None:
    """What no line shows: caller and thread of each (Python's Logging HOWTO, "Optimization").

    Gunicorn's own format shows the process, until its handlers are removed.
    """
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False


def _with_process(process: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    return add


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger: `log.info("invocation ended", invocation_id=…, status=…)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def bound(**context: object) -> AbstractContextManager[None]:
    """Bind context for everything logged inside the block, in this thread or greenlet."""
    return structlog.contextvars.bound_contextvars(**context)


def bind(**context: object) -> None:
    """Bind context until `clear`."""
    structlog.contextvars.bind_contextvars(**context)


def clear() -> None:
    """Unbind everything that `bind` has bound."""
    structlog.contextvars.clear_contextvars()

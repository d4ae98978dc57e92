"""The Python client of Joyfull Hub: AI tools as billed, durable jobs.

>>> client = Client()  # the key is read from JOYFULL_API_KEY
>>> client.run("sentiment", {"text": "What a joy!"})
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from joyfull import codes as codes
    from joyfull import models as models
    from joyfull import webhooks as webhooks
    from joyfull.answers import Part as Part
    from joyfull.async_client import AsyncClient as AsyncClient
    from joyfull.bulk import Refused as Refused
    from joyfull.bulk import Result as Result
    from joyfull.client import Client as Client
    from joyfull.credentials import Session as Session
    from joyfull.errors import BadResponse as BadResponse
    from joyfull.errors import ConfigurationError as ConfigurationError
    from joyfull.errors import ConnectionFailed as ConnectionFailed
    from joyfull.errors import InvocationCanceled as InvocationCanceled
    from joyfull.errors import InvocationEnded as InvocationEnded
    from joyfull.errors import InvocationExpired as InvocationExpired
    from joyfull.errors import InvocationFailed as InvocationFailed
    from joyfull.errors import JoyfullError as JoyfullError
    from joyfull.errors import NameReused as NameReused
    from joyfull.errors import OutcomeUnknown as OutcomeUnknown
    from joyfull.errors import SessionEnded as SessionEnded
    from joyfull.errors import SignatureError as SignatureError
    from joyfull.errors import Timeout as Timeout
    from joyfull.errors import WaitTimeout as WaitTimeout
    from joyfull.job import AsyncJob as AsyncJob
    from joyfull.job import Job as Job
    from joyfull.models.event import Event as Event
    from joyfull.problems import ApiError as ApiError
    from joyfull.session_file import SessionFile as SessionFile
    from joyfull.streams import AsyncStream as AsyncStream
    from joyfull.streams import Stream as Stream

    __version__: str

#: Where each name is. A module is loaded when its first name is asked for: not every program has an event loop, and
#: the command says its version before the HTTP client could be loaded.
_HOMES = {
    "answers": "Part",
    "async_client": "AsyncClient",
    "bulk": "Refused Result",
    "client": "Client",
    "credentials": "Session",
    "errors": (
        "BadResponse ConfigurationError ConnectionFailed InvocationCanceled InvocationEnded InvocationExpired "
        "InvocationFailed JoyfullError NameReused OutcomeUnknown SessionEnded SignatureError Timeout "
        "WaitTimeout"
    ),
    "job": "AsyncJob Job",
    "models.event": "Event",
    "problems": "ApiError",
    "session_file": "SessionFile",
    "streams": "AsyncStream Stream",
}
_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = ["__version__", "codes", "models", "webhooks", *_HOME]  # noqa: PLE0604 - names, all of them


def __getattr__(name: str) -> object:
    if name in {"codes", "models", "webhooks"}:
        return import_module(f"{__name__}.{name}")
    if name == "__version__":
        return import_module(f"{__name__}.version").VERSION
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = found
    return found

"""Tools: the catalogue, what accounts see of it (`browsing`), prices, schema validation (`schemas`), edits by admins
(`drafts`, `editing`).
"""

from common.tools import editing
from common.tools.browsing import ListedVersion, browse, history, model, models, seen_by, show, versions
from common.tools.catalogue import (
    REMEMBERED,
    everything,
    find,
    get,
    is_current,
    is_live,
    numbered,
    remembered,
    require_known,
    version,
)
from common.tools.fallbacks import stand_in
from common.tools.model import ListedTool, Version
from common.tools.prices import Price
from common.tools.schemas import check_schema, output_fault, validate_input

__all__ = [
    "REMEMBERED",
    "ListedTool",
    "ListedVersion",
    "Price",
    "Version",
    "browse",
    "check_schema",
    "editing",
    "everything",
    "find",
    "get",
    "history",
    "is_current",
    "is_live",
    "model",
    "models",
    "numbered",
    "output_fault",
    "remembered",
    "require_known",
    "seen_by",
    "show",
    "stand_in",
    "validate_input",
    "version",
    "versions",
]

"""Tools: the catalogue, prices, schema validation (`schemas`), edits by admins (`drafts`, `editing`)."""

from common.tools import editing
from common.tools.catalogue import (
    REMEMBERED,
    ListedTool,
    Version,
    catalogue,
    everything,
    find,
    get,
    is_current,
    remembered,
    require_known,
    version,
)
from common.tools.prices import Price
from common.tools.schemas import check_schema, output_fault, validate_input

__all__ = [
    "REMEMBERED",
    "ListedTool",
    "Price",
    "Version",
    "catalogue",
    "check_schema",
    "editing",
    "everything",
    "find",
    "get",
    "is_current",
    "output_fault",
    "remembered",
    "require_known",
    "validate_input",
    "version",
]

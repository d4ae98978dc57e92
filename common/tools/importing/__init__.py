"""Tools from an OpenAPI 3.0 or 3.1 document: what each operation would be as a tool, and what cannot be mapped.

run       a preview, and making tools of it              running.py
          … of a large document, by a child process      reader.py
preview   the document's operations as tools             operations.py
          … its servers and credentials                  servers.py
          … its parameters, in path and query            parameters.py
          … its schemas as JSON Schema 2020-12           converting.py
          … its parts, by reference, within bounds       document.py
"""

from common.tools.importing.operations import ImportedTool, preview
from common.tools.importing.running import Imported, ImportFields, run

__all__ = ["ImportFields", "Imported", "ImportedTool", "preview", "run"]

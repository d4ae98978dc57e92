"""Where the operations of a document are, and the credential that they need."""

from __future__ import annotations

import re
from typing import Final

from common.tools.importing.document import Document, Part, Unmapped, listing, mapping

_VARIABLE: Final = re.compile(r"\{([^{}]{1,100})\}")


def of(document: Document, item: Part, operation: Part) -> str:
    """The address of an operation's first server, with the defaults of its variables. Raises `Unmapped`."""
    places = (operation, item, document.root)
    servers = next((found for place in places if (found := listing(place.get("servers")))), [])
    server = mapping(servers[0]) if servers else {}
    variables = mapping(server.get("variables"))

    def value(match: re.Match[str]) -> str:
        default = mapping(variables.get(match[1])).get("default")
        if not isinstance(default, str):
            raise Unmapped(f"The server's variable {match[1]} has no default: send `base_url`.")
        return default

    return _VARIABLE.sub(value, str(server.get("url", "/")))


def auth(document: Document, operation: Part) -> dict[str, str]:
    """The first of the alternative credentials that can be sent. Raises `Unmapped` if none can."""
    given = operation.get("security", document.root.get("security"))
    alternatives = [mapping(each) for each in listing(given)]
    whys = []
    for schemes in [each for each in alternatives if each]:
        try:
            return _of(document, schemes)
        except Unmapped as error:
            whys.append(str(error))
    if whys and {} not in alternatives:
        raise Unmapped(whys[0])
    return {"type": "none"}


def _of(document: Document, schemes: Part) -> dict[str, str]:
    if len(schemes) > 1:
        raise Unmapped(f"It needs several credentials at once: {', '.join(map(str, schemes))[:200]}.")
    (name,) = schemes
    defined = mapping(mapping(document.root.get("components")).get("securitySchemes"))
    scheme = document.part(defined.get(name, {}))
    kind, where = scheme.get("type"), scheme.get("in")
    if kind == "http" and str(scheme.get("scheme")).lower() in ("bearer", "basic"):
        return {"type": str(scheme["scheme"]).lower()}
    if kind in ("oauth2", "openIdConnect"):
        return {"type": "bearer"}
    if kind == "apiKey" and where == "header":
        return {"type": "header", "header_name": str(scheme.get("name"))[:200]}
    said = f"an API key in the {where}" if kind == "apiKey" else f"{scheme.get('scheme', kind)}"
    raise Unmapped(f"The credential {str(name)[:100]} cannot be sent ({said[:100]}).")

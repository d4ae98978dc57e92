"""What the documentation site has beside the pages in `docs/`, and where links between files of the repository lead.

A hook of ProperDocs (`properdocs.yml`; `make docs`). Pages that stand elsewhere in the repository are shown from there;
the list of API operations is written from `docs/openapi.json`, and the reference has a page for each package of
`common`.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

from properdocs.config.defaults import ProperDocsConfig
from properdocs.structure.files import File, Files
from properdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
#: Pages of the site that stand outside of `docs/`.
ELSEWHERE = {
    "index.md": "README.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "CODE_OF_CONDUCT.md": "CODE_OF_CONDUCT.md",
    "examples/README.md": "examples/README.md",
}
#: Files that are shown as they are: page, title, language.
VERBATIM = {
    ".env.example": ("settings.md", "Settings", "sh"),
    "docker-compose.yml": ("containers.md", "Containers", "yaml"),
    "LICENSE": ("LICENSE.md", "Licence", "text"),
}
#: Also of a picture, whose `!` stays where it is.
LINK = re.compile(r"\[(?P<text>[^]]*)\]\((?P<target>[^)\s]+)\)")
#: A list right below its paragraph: one in CommonMark (and on forges), none in Python-Markdown.
UNSEPARATED = re.compile(r"^((?![-*] |\d+\. |[#|>])\S.*)\n(?=(?:[-*]|1\.) )", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
METHODS = ("get", "post", "patch", "put", "delete")
SWAGGER = ROOT / "web/static/swagger-ui"
EXPLORER = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Joyfull Hub API</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="swagger-ui.css"></head>
<body><div id="swagger-ui"></div><script src="swagger-ui-bundle.js"></script><script>
SwaggerUIBundle({spec: %s, dom_id: "#swagger-ui", supportedSubmitMethods: []});
</script></body></html>"""


#: Tables that are wider than the page scroll by themselves.
STYLE = "table { display: block; overflow-x: auto; }\n"


def on_config(config: ProperDocsConfig) -> ProperDocsConfig:
    """Add the pages of the reference to the menu; give sections ids that are selectors, and tables a style."""
    slugify = config.mdx_configs["toc"]["slugify"]
    config.mdx_configs["toc"]["slugify"] = lambda title, separator: selectable(slugify(title, separator))
    config.extra_css.append("site.css")
    pages = [{_title(page): page} for page in _reference_pages()]
    config.nav = [{"Reference": pages} if item == {"Reference": "reference/"} else item for item in config.nav or ()]
    return config


def selectable(anchor: str) -> str:
    """The id of a section; one that began with a digit would be no CSS selector, and stop the theme's scripts."""
    return f"at-{anchor}" if anchor[:1].isdigit() else anchor


def on_files(files: Files, config: ProperDocsConfig) -> Files:
    """Add the pages that are not in `docs/`."""
    files.append(File.generated(config, "site.css", content=STYLE))
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for source, (page, title, language) in VERBATIM.items():
        content = f"# {title}\n\n````{language}\n{(ROOT / source).read_text(encoding='utf-8')}````\n"
        files.append(File.generated(config, page, content=content))
    spec = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    files.append(File.generated(config, "api/index.md", content=operations(spec)))
    files.append(File.generated(config, "api/explorer.html", content=EXPLORER % _in_script(spec)))
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "LICENSE", "NOTICE"):
        files.append(File.generated(config, f"api/{name}", abs_src_path=str(SWAGGER / name)))
    for page, modules in _reference_pages().items():
        files.append(File.generated(config, page, content=reference(page, modules)))
    return files


# -- links ---------------------------------------------------------------------------------------------------------


def on_page_markdown(markdown: str, page: Page, files: Files, **_: object) -> str:
    """Lead links to files of the repository to their pages; what is no page keeps its text alone. Lists are lists."""
    here = _in_repository(page.file.src_uri)
    pages = {_in_repository(file.src_uri): file.src_uri for file in files}

    def lead(link: re.Match[str]) -> str:
        path, mark, section = link["target"].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return link[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(here), path))
        index = f"{target}/README.md"
        if found := pages.get(target) or pages.get(index):
            return f"[{link['text']}]({posixpath.relpath(found, posixpath.dirname(page.file.src_uri))}{mark}{section})"
        return (
            link["text"] if (ROOT / target).exists() else link[0]
        )  # what does not exist is for ProperDocs to complain of

    return _outside_of_code(markdown, lambda text: UNSEPARATED.sub(r"\1\n\n", LINK.sub(lead, text)))


def _in_repository(page: str) -> str:
    """Where a page stands in the repository."""
    verbatim = {name: source for source, (name, _, _) in VERBATIM.items()}
    return ELSEWHERE.get(page) or verbatim.get(page) or f"docs/{page}"


def _outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    parts, at = list[str](), 0
    for code in FENCE.finditer(markdown):
        parts += [change(markdown[at : code.start()]), code[0]]
        at = code.end()
    return "".join([*parts, change(markdown[at:])])


# -- the API -------------------------------------------------------------------------------------------------------

#: An OpenAPI document. Any: a test checks it against the specification.
Spec = dict[str, Any]


def operations(spec: Spec) -> str:
    """The page of all operations, by group, from the OpenAPI document."""
    lines = [
        f"# The API, {spec['info']['version']}",
        "",
        "[Everything about each operation](explorer.html): parameters, bodies, answers, examples. "
        "[The OpenAPI document](../openapi.json) is what clients are generated from.",
        "",
        spec["info"]["description"].replace("(/docs/errors)", "(explorer.html)"),
    ]
    every = [
        (operation["tags"][0], method.upper(), path, operation["summary"])
        for path, item in spec["paths"].items()
        for method in METHODS
        if (operation := item.get(method))
    ]
    order = [tag["name"] for tag in spec["tags"]]
    for tag, found in groupby(sorted(every, key=lambda each: order.index(each[0])), key=lambda each: each[0]):
        lines += ["", f"## {tag}", "", "| | | |", "|---|---|---|"]
        lines += [f"| {method} | `{path}` | {summary} |" for _, method, path, summary in found]
    return "\n".join(lines) + "\n"


def _in_script(spec: Spec) -> str:
    return json.dumps(spec, ensure_ascii=False).replace("<", "\\u003c")


# -- the reference -------------------------------------------------------------------------------------------------


def _reference_pages() -> dict[str, list[str]]:
    """The pages of the reference: a package that says what is public in it, or else each of its modules."""
    pages = {"reference/common.md": [f"common.{file.stem}" for file in _modules(ROOT / "common")]}
    for package in sorted(each.parent for each in (ROOT / "common").glob("*/__init__.py")):
        name = f"common.{package.name}"
        inside = [name] if _says_what_is_public(package) else [f"{name}.{file.stem}" for file in _modules(package)]
        pages[f"reference/{package.name}.md"] = inside
    return pages


def _modules(package: Path) -> list[Path]:
    found = [each.parent for each in package.glob("*/__init__.py")] if package.name != "common" else []
    return sorted(found + [file for file in package.glob("*.py") if file.stem != "__init__"])


def _says_what_is_public(package: Path) -> bool:
    tree = ast.parse((package / "__init__.py").read_text(encoding="utf-8"))
    return any(isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__" for node in tree.body)


def _title(page: str) -> str:
    name = Path(page).stem
    return name if name == "common" else f"common.{name}"


def reference(page: str, modules: list[str]) -> str:
    """A page on which mkdocstrings shows these modules."""
    if modules == [_title(page)]:
        return f"::: {modules[0]}\n    options:\n      heading_level: 1\n"
    return f"# {_title(page)}\n\n" + "\n\n".join(f"::: {module}" for module in modules) + "\n"

"""The documentation site: it builds, is complete, asks nobody else for anything, and a broken link fails."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html import unescape
from importlib import import_module
from pathlib import Path

import pytest

from dev import check
from tools import site

ROOT = Path(__file__).resolve().parents[2]
#: What a browser would fetch by itself: scripts, styles, pictures, frames.
FETCHED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"|<link\b[^>]*\bhref=\"([^\"]+)\"")


def build(root: Path, to: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = check.SITE
    command = [str(Path(sys.executable).parent / program), *arguments, "--site-dir", str(to)]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("site")
    done = build(ROOT, to)
    assert done.returncode == 0, done.stderr
    return to


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_make_builds_as_the_gate_does() -> None:
    assert f"$(BIN)/{' '.join(check.SITE)} &&" in text(ROOT / "Makefile")


def test_pages_fetch_nothing_from_elsewhere(built: Path) -> None:
    fetched = {a or b for page in built.rglob("*.html") for a, b in FETCHED.findall(text(page))}

    assert len(fetched) > 5
    assert [address for address in sorted(fetched) if "//" in address] == []


def test_every_operation_of_the_api_is_listed(built: Path) -> None:
    spec = json.loads(text(ROOT / "docs/openapi.json"))
    shown = unescape(text(built / "api/index.html"))

    operations = [(m.upper(), path) for path, item in spec["paths"].items() for m in site.METHODS if m in item]
    assert len(operations) > 50
    missing = [each for each in operations if f"<td>{each[0]}</td>\n<td><code>{each[1]}</code></td>" not in shown]
    assert missing == []
    assert "SwaggerUIBundle(" in text(built / "api/explorer.html")


@pytest.mark.parametrize("package", ["invocations", "budgets", "webhooks", "usage", "tools"])
def test_the_reference_shows_what_packages_make_public(built: Path, package: str) -> None:
    module = import_module(f"common.{package}")
    modules = {file.stem for file in (ROOT / "common" / package).glob("*.py")}  # of a name, the reference shows these
    functions = [name for name in module.__all__ if callable(getattr(module, name)) and name not in modules]
    shown = text(built / f"reference/{package}.html")

    assert len(functions) > 5
    assert [name for name in functions if f'id="common.{package}.{name}"' not in shown] == []


def test_every_package_has_a_page_in_the_reference(built: Path) -> None:
    packages = {file.parent.name for file in (ROOT / "common").glob("*/__init__.py")}
    assert packages < {page.stem for page in (built / "reference").glob("*.html")}


def test_links_between_files_of_the_repository_lead_to_their_pages(built: Path) -> None:
    assert '<a href="architecture.html">docs/architecture.md</a>' in text(built / "index.html")
    assert '<a href="decisions/index.html">docs/decisions/</a>' in text(built / "index.html")
    assert '<a href="settings.html">.env.example</a>' in text(built / "operations.html")


def test_a_broken_link_and_a_page_in_no_menu_fail(tmp_path: Path) -> None:
    for name in ("properdocs.yml", "docker-compose.yml", ".env.example", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("docs", "tools", "examples", "web/static", "common"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    (tmp_path / "docs" / "stray.md").write_text("# Stray\n")
    books = tmp_path / "docs/books.md"
    books.write_text(
        text(books) + "\n[away](nowhere.md) [up](../common/nowhere.py) [there](faults.md#no-such-section)\n"
    )
    configuration = tmp_path / "properdocs.yml"
    without = re.sub(r"(?m)^  mkdocstrings:\n(?:    .*\n)+", "", text(configuration))
    configuration.write_text(without)  # docstrings take most of the time

    done = build(tmp_path, tmp_path / "site")

    assert done.returncode == 1
    warned = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warned) == 4, done.stderr
    for word in ("stray.md", "nowhere.md", "../common/nowhere.py", "#no-such-section"):
        assert word in done.stderr


def test_sections_have_ids_that_scripts_can_select(built: Path) -> None:
    pages = [page for page in built.rglob("*.html") if page.name != "404.html"]
    ids = {found for page in pages for found in re.findall(r'<h[1-6] id="([^"]+)"', text(page))}

    assert {"at-100-unreleased", "recipes"} <= ids
    assert [each for each in sorted(ids) if each[0].isdigit()] == []

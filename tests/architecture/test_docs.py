"""What the pages refer to exists: linked files and their sections, files in backticks, commands of make and flask."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.settings import Settings
from web.app import create_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples/README.md"]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")
NAMED_PAGE = re.compile(r"docs/[a-z/-]+\.md")
#: What a reader would look for in the tree: it begins with one of our directories.
PATH = re.compile(r"(?:common|dev|docs|examples|migrations|tests|tools|web|worker)/[\w./*-]*")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def sections(page: Path) -> set[str]:
    """The anchors that GitHub gives headings."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    lost = []
    for link in LINK.findall(text_of(page)):
        file, _, section = link.partition("#")
        target = page.parent / file if file else page
        if "://" not in link and not (target.exists() and (not section or section in sections(target))):
            lost.append(link)

    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_files_that_are_named_exist(page: Path) -> None:
    named = {word for word in re.findall(r"`([^`\n]+)`", text_of(page)) if PATH.fullmatch(word)}

    assert [path for path in sorted(named) if not [*ROOT.glob(path.rstrip("/")), *ROOT.glob(f"{path}.py")]] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_tests_that_are_named_exist(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text_of(page))

    assert [test for file, test in named if f"\ndef {test}(" not in text_of(ROOT / file)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)(?:[A-Z]+=\S+ )?make ([a-z-]+)", text_of(page), re.MULTILINE))

    assert named <= targets


def test_commands_of_flask_exist(settings: Settings) -> None:
    groups = create_app(settings).cli.commands
    known = {f"{group} {name}" for group, it in groups.items() for name in getattr(it, "commands", {})}
    named = {command for page in PAGES for command in re.findall(r"flask --app wsgi ([a-z]+ [a-z-]+)", text_of(page))}

    assert named
    assert named <= known


def test_pages_that_the_code_names_exist() -> None:
    rooms = ("common", "dev", "examples", "migrations", "tests", "tools", "web", "worker")
    code = [*ROOT.glob("*.toml"), *ROOT.glob("*.py"), *(file for room in rooms for file in (ROOT / room).rglob("*.py"))]
    named = {(page, file.name) for file in code for page in NAMED_PAGE.findall(text_of(file))}

    assert named
    assert [name for name in sorted(named) if not (ROOT / name[0]).exists()] == []


def test_docs_are_for_readers() -> None:
    """What programs write for themselves stands beside them; the API document is one of the pages."""
    generated = {str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.json")}

    assert generated == {"docs/openapi.json"}


def test_every_decision_is_listed() -> None:
    pages = {page.name for page in (ROOT / "docs/decisions").glob("*.md")} - {"README.md"}
    listed = set(LINK.findall(text_of(ROOT / "docs/decisions/README.md")))

    assert pages <= listed

"""`.env.example` agrees with `common.settings` and with the example tools that `make run` starts."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from common import settings
from common.kit.dotenv import read_dotenv
from examples.tools import chat

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")


class Recorder(dict[str, str]):
    """An empty environment that remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self.asked.add(key)
        return super().get(key, default)


def test_each_setting_is_explained_and_nothing_else() -> None:
    environ = Recorder()
    settings.read_from(settings.Reader(environ))
    environ.update({"OPENAI_BASE_URL": "http://localhost/v1", "OPENAI_MODEL": "tiny"})
    chat.entry(environ)
    asked = {name for name in environ.asked if not name.endswith("_FILE")}

    assert set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE, re.MULTILINE)) == asked


def test_each_setting_comes_after_words() -> None:
    """The line above a setting explains it, or is another setting that shares the explanation."""
    lines = EXAMPLE.splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"#?[A-Z_]+=", line):
            assert re.match(r"# \S|#[A-Z_]+=", above), line


def test_the_defaults_shown_are_the_defaults() -> None:
    shown = read_dotenv(re.sub(r"^#([A-Z_]+=.+)$", r"\1", EXAMPLE, flags=re.MULTILINE))

    assert len(shown) > 10
    assert settings.load(shown) == settings.load({})


def test_an_empty_file_means_the_default(tmp_path: Path) -> None:
    """As an empty variable does."""
    empty = tmp_path / "empty"
    empty.write_text("\n")
    names = ("BROKER_URL", "SMTP_URL", "REDIS_URL", "MAIL_FROM", "PUBLIC_URL")

    assert settings.load({f"{name}_FILE": str(empty) for name in names}) == settings.load(dict.fromkeys(names, ""))
    assert settings.load(dict.fromkeys(names, "")) == settings.load({})

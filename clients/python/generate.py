"""Write what the package takes from the API document: `python generate.py` writes, `--check` fails on a difference.

From `docs/openapi.json` it makes `joyfull/models/` (dataclasses of what responses hold, TypedDicts of what requests
take) and `joyfull/operations.py` (method and path of every operation, and the codes of all errors).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from api_document import BANNER, Schema, Writer

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "openapi.json"
PACKAGE = HERE / "joyfull"
#: What the hand-written module of events brings along.
EVENT_NAMES = [
    "AllowanceReachedEvent", "BudgetThresholdEvent", "Event", "InvocationEvent", "ScheduleRefusedEvent",
    "SubscriptionChangedEvent", "ThinInvocationEvent", "UnknownEvent", "WebhookDisabledEvent", "WebhookTestEvent",
    "event_of",
]  # fmt: skip


def modules(document: Schema) -> dict[Path, str]:
    """The text of every file, before it is formatted."""
    writer = Writer(document)
    found = writer.answers()
    home = {name: tag for tag, names in found.items() for name in names}
    files = {PACKAGE / "operations.py": "".join(writer.table())}
    for tag, names in found.items():
        text = "\n\n\n".join(writer.model(name) for name in names)
        needed = sorted({each for name in names for each in writer.references(name) if home[each] != tag})
        foreign = "".join(f"from joyfull.models.{home[each]} import {each}\n" for each in needed)
        files[PACKAGE / "models" / f"{tag}.py"] = (
            BANNER.format(f"What the API answers about {tag}") + heading(text, foreign) + text + "\n"
        )
    bodies = "\n\n\n".join(writer.bodies())
    files[PACKAGE / "models" / "bodies.py"] = BANNER.format("What requests take") + heading(bodies, "") + bodies + "\n"
    files[PACKAGE / "models" / "__init__.py"] = index(found)
    return files


def heading(text: str, foreign: str) -> str:
    """The imports that a module needs."""
    typing = [name for name in ("Any", "ClassVar", "Literal", "Required", "TypedDict") if name in text]
    dates = [name for name in ("date", "datetime") if f": {name}" in text or f"[{name}" in text]
    base = [name for name in ("Decoders", "Model", "to_date", "to_datetime", "to_tuple") if name in text]
    abstract = [name for name in ("Mapping", "Sequence") if name in text]
    lines = [f"from collections.abc import {', '.join(abstract)}"] * bool(abstract)
    lines += ["from dataclasses import dataclass"] * ("@dataclass" in text)
    lines += [f"from datetime import {', '.join(dates)}"] * bool(dates) + [
        f"from typing import {', '.join(typing)}",
        "",
    ]
    lines += [f"from joyfull.models.base import {', '.join(base)}"] * ("(Model)" in text)
    return "\n".join(lines) + "\n" + foreign + "\n\n"


def index(found: dict[str, list[str]]) -> str:
    """`models/__init__.py`: loads a module when the first of its classes is asked for, so that importing is quick."""
    lines = [BANNER.format("What the API answers; modules load when they are first needed")]
    lines += ["from importlib import import_module\n", "from typing import TYPE_CHECKING\n\n", "if TYPE_CHECKING:\n"]
    found = {**found, "event": EVENT_NAMES}
    for tag, names in sorted(found.items()):
        lines.append(
            f"    from joyfull.models.{tag} import {', '.join(f'{name} as {name}' for name in sorted(names))}\n"
        )
    lines.append("\n_HOME = {\n")
    lines += [
        f"    {json.dumps(name)}: {json.dumps(tag)},\n"
        for tag, names in sorted(found.items())
        for name in sorted(names)
    ]
    lines.append("}\n\n\ndef __getattr__(name: str) -> object:\n    if name not in _HOME:\n")
    lines.append('        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")\n')
    lines.append('    found: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)\n')
    lines.append("    globals()[name] = found\n    return found\n")
    return "".join(lines)


def formatted(text: str, path: Path) -> str:
    """As ruff leaves it."""
    ruff = Path(sys.executable).with_name("ruff")
    for command in (["check", "--select", "I,F401,UP", "--fix", "--quiet"], ["format"]):
        done = subprocess.run(
            [ruff, *command, "--stdin-filename", str(path), "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=HERE,
        )
        if done.returncode:
            raise SystemExit(f"{path}: {done.stdout}{done.stderr}")
        text = done.stdout
    return text


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description="Write the models and operations of the package.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not as it would be")
    checking = parser.parse_args().check
    document = json.loads(DOCUMENT.read_text(encoding="utf-8"))
    differing = []
    files = modules(document)
    for path, text in files.items():
        wanted = formatted(text, path)
        if path.exists() and path.read_text(encoding="utf-8") == wanted:
            continue
        differing.append(path.relative_to(HERE))
        if not checking:
            path.write_text(wanted, encoding="utf-8")
    known = {*files, PACKAGE / "models" / "base.py", PACKAGE / "models" / "event.py"}
    stale = [path.relative_to(HERE) for path in (PACKAGE / "models").glob("*.py") if path not in known]
    if checking and (differing or stale):
        print("not as the API document has it (run clients/python/generate.py):", *differing, *stale)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

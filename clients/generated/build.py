"""Generate clients with other people's generators, and compile them with the stories: `python build.py DIRECTORY`.

Nothing of it is committed. TypeScript is compiled with `tsc --strict` into `DIRECTORY/dist`, Python checked with mypy.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import node

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BIN = Path(sys.executable).parent
#: By name: the command that generates in the directory, one of an npm package.
TYPESCRIPT = {
    # Without the option, a field with a default is mandatory in the bodies of requests.
    "openapi-typescript": (
        *("openapi-typescript", "openapi.json", "--output", "openapi_typescript/schema.d.ts"),
        "--default-non-nullable=false",
    ),
    "hey-api": ("openapi-ts", "--file", "hey_api.config.mjs"),
    "orval": ("orval", "--config", "orval.config.mjs"),
}
#: The same of a Python package.
PYTHON = {
    "openapi-python-client": (
        *("openapi-python-client", "generate", "--path", "openapi.json", "--config", "openapi_python_client.yaml"),
        *("--meta", "none", "--output-path", "openapi_python_client_package", "--fail-on-warning"),
    ),
    "datamodel-code-generator": (
        *("datamodel-codegen", "--input", "openapi.json", "--input-file-type", "openapi", "--output", "datamodel.py"),
        *("--output-model-type", "pydantic_v2.BaseModel", "--target-python-version", "3.11", "--use-annotated"),
        *("--use-standard-collections", "--use-union-operator", "--disable-timestamp", "--formatters", "builtin"),
        *("--enum-field-as-literal", "one", "--no-use-specialized-enum", "--set-default-enum-member"),
    ),
}


class BuildError(Exception):
    """What a generator or compiler said."""


def build(directory: Path, document: Path) -> None:
    """Generate and compile everything. Raises BuildError, node.NoRegistryError."""
    modules = node.packages()
    directory.mkdir(parents=True, exist_ok=True)
    joyfull = ROOT / "examples" / "typescript" / "joyfull.ts"
    for source in (*(HERE / "stories").iterdir(), HERE / "package.json", joyfull):
        shutil.copy(source, directory)
    shutil.copy(document, directory / "openapi.json")
    (directory / "node_modules").symlink_to(modules)
    chains: Sequence[Callable[[Path], None]] = (_typescript, _python)
    with ThreadPoolExecutor(len(chains)) as pool:
        list(pool.map(lambda chain: chain(directory), chains))


def _typescript(directory: Path) -> None:
    for command in (*TYPESCRIPT.values(), ("tsc", "--project", ".")):
        run_npm(directory, *command)


def _python(directory: Path) -> None:
    for command in PYTHON.values():
        _run(directory, BIN / command[0], *command[1:])
    stories = sorted(path.name for path in directory.glob("*_story.py"))
    _run(directory, BIN / "mypy", "--config-file", "mypy.ini", *stories)


def run_npm(directory: Path, name: str, *arguments: str) -> None:
    """Run a command of an npm package in the directory."""
    _run(directory, node.NODE, directory / "node_modules" / ".bin" / name, *arguments)


def _run(directory: Path, *command: str | Path) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        env=node.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))}\n{done.stdout[-5000:]}")


def main() -> int:
    """Build into a directory."""
    parser = argparse.ArgumentParser(description="Generate and compile clients.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--document", type=Path, default=ROOT / "docs" / "openapi.json")
    given = parser.parse_args()
    try:
        build(given.directory.resolve(), given.document.resolve())
    except node.NoRegistryError as error:
        print(error, file=sys.stderr)
        return node.UNAVAILABLE
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

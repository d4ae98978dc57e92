"""The demo's receipt: issued by the platform, and checked offline by the example that anybody can copy."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path

from rich.table import Table
from rich.text import Text

from dev.demo.scenario import Demo
from dev.demo.work import Job
from dev.platform import ROOT
from joyfull.wire import Json

VERIFIER = "examples/verify_receipt.py"
SECONDS = 30
SHOWN_SIGNED = 48
SHOWN = ("status", "units", "basis", "held", "charged", "output_sha256")


def tell(demo: Demo, job: Job) -> None:
    """Fetch the receipt, keep it in the demo's folder, and verify it there."""
    demo.screen.title("A signed receipt for it")
    issued = demo.client.invocations.receipt(job.id)
    keys = demo.client.platform.signing_keys()
    _keep(demo.folder, {"jwks.json": keys, "input.json": job.input, "output.json": job.output})
    demo.screen.show(_claims(issued.claims, issued.receipt))
    refusal = _verify(demo.folder, "receipt.jws", issued.receipt)
    demo.confirm(
        not refusal,
        "verified offline: its signature, its sum, and the hashes of input and output",
        f"the receipt does not verify: {refusal}",
    )
    refusal = _verify(demo.folder, "forged.jws", _cheaper(issued.receipt))
    why = ": ".join(refusal.split(": ")[:2])
    demo.confirm(bool(refusal), f"with a token less: {why}", "a receipt that was changed verifies")
    demo.screen.say(f"[dim]python {VERIFIER} receipt.jws --jwks jwks.json[/]")
    demo.screen.say(f"[dim]the files are in {_below(demo.folder)}[/]")


def _keep(folder: Path, files: dict[str, Json]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _verify(folder: Path, name: str, signed: str) -> str:
    """Why the example refuses it; empty if it does not."""
    (folder / name).write_text(signed, encoding="utf-8")
    files = [name, "--jwks", "jwks.json", "--input", "input.json", "--output", "output.json"]
    command = [sys.executable, str(ROOT / VERIFIER), *files]
    checked = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    return "" if checked.returncode == 0 else checked.stderr.strip()


def _cheaper(signed: str) -> str:
    """As its owner might wish it: a token less, under the same signature."""
    head, body, signature = signed.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    claims["charged"] -= 1
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{head}.{changed}.{signature}"


def _claims(claims: Json, signed: str) -> Table:
    rows = Table.grid(padding=(0, 2))
    for name in SHOWN:
        rows.add_row(Text(name, "dim"), Text(str(claims[name]), overflow="ellipsis", no_wrap=True))
    rows.add_row(Text("signed", "dim"), Text(f"{signed[:SHOWN_SIGNED]}…", overflow="ellipsis", no_wrap=True))
    return rows


def _below(folder: Path) -> Path:
    """As it is written from the project's directory."""
    return folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder

"""What users would pick instead for calling tools: litellm proxy, one process, no database, the same tool behind it.

It is installed from the index into an environment of its own (once; kept in the temporary directory of this user), and
measured in turn with one web process and one worker process of the platform, each with 16 clients that wait for their
results. Where it cannot be installed, the comparison is left out and says why.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median

from dev.ports import free_port
from dev.supervisor import Part
from tools.bench import environments, load, pairs
from tools.bench.environments import NotInstalled
from tools.bench.goals import Found, answering, ratio
from tools.bench.ground import Ground, listening

PACKAGE = "litellm[proxy]"
CLIENTS = 16
SECONDS = 5.0
KEY = "sk-bench"
_CONFIG = """
model_list:
  - model_name: tool
    litellm_params:
      model: openai/tool
      api_base: {url}
      api_key: nothing
litellm_settings:
  telemetry: false
general_settings:
  master_key: {key}
"""


def measure(ground: Ground) -> dict[str, Found]:
    try:
        where = environments.installed("peer", PACKAGE)
    except NotInstalled as failure:
        print(f"peer: left out, because it cannot be installed: {failure}", flush=True)
        return {}
    port = free_port()
    ground.stop_all()
    ground.start(ground.web(), *ground.workers(1, 200), proxy(ground, where, port))
    ground.supervisor.wait_for(lambda: listening(port), "the peer", 300)
    body = json.dumps({"model": "tool", "messages": [{"role": "user", "content": "some words"}]}).encode()
    theirs = [load.request("POST", "/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}, body)]
    ours = ground.submits("quick", **answering.WAIT)
    spent: dict[str, list[float]] = {"ours": [], "peer": []}
    own = [ground.supervisor.children[name].pid for name in ("web", "invocations-1")]
    own += [server.pid for server in ground.servers]
    for requests, at in ((ours, ground.settings.port), (theirs, port)):
        answering.good(load.closed(at, requests, clients=CLIENTS, seconds=2))
    found = pairs.in_turn(
        lambda: _rate(ground.settings.port, ours, own, spent["ours"]),
        lambda: _rate(port, theirs, [ground.supervisor.children["peer"].pid], spent["peer"]),
    )
    ground.stop_all()
    mine, other = (1000 * median(spent[name]) for name in ("ours", "peer"))
    note = (
        f"CPU a finished call: platform {mine:.1f} ms (web, worker, PostgreSQL, Redis), "
        f"litellm proxy {environments.version(where, 'litellm')} {other:.1f} ms (one process, nothing stored)"
    )
    return {"peer": ratio(found, note=note)}


def _rate(port: int, requests: list[bytes], pids: list[int], spent: list[float]) -> float:
    with pairs.cpu(pids) as cpu:
        found = answering.good(load.closed(port, requests, clients=CLIENTS, seconds=SECONDS))
    spent.append(cpu.total / (found.good * 1.2))
    return found.rate


def proxy(ground: Ground, where: Path, port: int) -> Part:
    config = ground.directory / "peer.yaml"
    config.write_text(_CONFIG.format(url=ground.tool_url("/v1"), key=KEY))
    command = [str(where / "bin" / "litellm"), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
    without_ours = ["env", "-u", "DATABASE_URL", "-u", "REDIS_URL"]
    return Part("peer", [*without_ours, *command, "--num_workers", "1", "--telemetry", "False"], environ)

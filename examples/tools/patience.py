"""A slow tool: shows what a long call looks like to a client."""

from __future__ import annotations

import time

from examples.tools.tool import Answer, Json, Tool, schema

MAX_SECONDS = 60


def answer(body: Json, _key: str) -> Answer:
    began = time.monotonic()
    time.sleep(body["seconds"])
    waited = round(time.monotonic() - began, 3)
    return Answer({"asked": body["seconds"], "waited": waited}, {"seconds": body["seconds"]})


TOOL = Tool(
    slug="patience",
    name="Patience",
    description=f"Waits for up to {MAX_SECONDS} seconds, then answers. For trying out long calls and cancellation.",
    category="trying-out",
    price={
        "base_tokens": 1,
        "per_unit": {"pointer": "/usage/seconds", "tokens": 1, "unit": "second"},
        "max_tokens": 1 + MAX_SECONDS,
    },
    input_schema=schema(
        {
            "seconds": {
                "type": "number",
                "minimum": 0,
                "maximum": MAX_SECONDS,
                "description": "How long to wait; also accepted in the query, as in `POST /slow?seconds=3`.",
            }
        },
        required=["seconds"],
    ),
    output_schema=schema(
        {"asked": {"type": "number"}, "waited": {"type": "number", "minimum": 0}}, required=["asked", "waited"]
    ),
    example_input={"seconds": 2},
    answer=answer,
    path="/slow",
    timeout_seconds=MAX_SECONDS + 15,
)

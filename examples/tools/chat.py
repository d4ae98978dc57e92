"""A chat-completion tool, available only if an OpenAI-compatible endpoint is configured."""

from __future__ import annotations

from collections.abc import Mapping

from examples.tools.tool import Json, schema

MAX_TOKENS = 4_000

MESSAGE = schema(
    {
        "role": {"enum": ["system", "user", "assistant"]},
        "content": {"type": "string", "minLength": 1, "maxLength": 20_000},
    },
    required=["role", "content"],
)


def entry(environ: Mapping[str, str]) -> Json | None:
    """The catalogue entry for OPENAI_BASE_URL and OPENAI_MODEL (and OPENAI_API_KEY, if set), else None."""
    base_url, model = environ.get("OPENAI_BASE_URL", "").rstrip("/"), environ.get("OPENAI_MODEL", "")
    if not base_url or not model:
        return None
    key = environ.get("OPENAI_API_KEY", "")
    return {
        "slug": "chat",
        "name": f"Chat ({model})",
        "description": f"Chat with {model}: send the conversation so far, get the reply.",
        "category": "language-model",
        "endpoint_url": f"{base_url}/chat/completions",
        "adapter": "chat_completion",
        "method": "POST",
        "headers": {},
        "auth": {"type": "bearer", "secret": key} if key else {"type": "none"},
        "input_schema": schema(
            {
                "model": {"const": model},
                "messages": {"type": "array", "minItems": 1, "maxItems": 100, "items": MESSAGE},
                "max_tokens": {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS},
                "temperature": {"type": "number", "minimum": 0, "maximum": 2},
            },
            required=["model", "messages"],
        ),
        "output_schema": None,
        "price": {
            "base_tokens": 1,
            "per_unit": {"pointer": "/usage/total_tokens", "tokens": 1, "unit": "model token"},
            "max_tokens": 1 + MAX_TOKENS * 5,
            "metered": {"chars_per_unit": 4, "input": True},
        },
        "streaming": True,
        "timeout_seconds": 120,
        "max_attempts": 3,
        "idempotent": False,
        "example_input": {"model": model, "messages": [{"role": "user", "content": "Say hello in five languages."}]},
        "result_pointer": None,
        "is_active": True,
    }

"""Language identification: naive Bayes over byte n-grams, 139 languages, 4.5 MB (py3langid)."""

from __future__ import annotations

from functools import cache
from threading import Lock
from typing import TYPE_CHECKING

from examples.tools.tool import Answer, Json, Tool, price_by_length, schema, text, usage_by_length

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

CODE = {"type": "string", "pattern": "^[a-z]{2,3}$"}
CONFIDENCE = {"type": "number", "minimum": 0, "maximum": 1}

_loading = Lock()


def answer(body: Json, _key: str) -> Answer:
    ranked = rank(body["text"])[: body.get("top", 3)]
    candidates = [{"language": code, "confidence": round(confidence, 4)} for code, confidence in ranked]
    return Answer({**candidates[0], "candidates": candidates}, usage_by_length(body["text"]))


def rank(value: str) -> list[tuple[str, float]]:
    """All languages with their probabilities, the most likely first."""
    with _loading:
        model = _model()
    ranked: list[tuple[str, float]] = model.rank(value)
    return ranked


@cache
def _model() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


TOOL = Tool(
    slug="language",
    name="Language identification",
    description=(
        "Identifies which of 139 languages a text is written in, with a probability for each candidate. "
        "A sentence is enough; a single word often is not. `zxx` means no linguistic content."
    ),
    category="text",
    price=price_by_length(1),
    input_schema=schema(
        {
            "text": text("The text to identify."),
            "top": {
                "type": "integer",
                "minimum": 1,
                "maximum": 10,
                "default": 3,
                "description": "How many candidates.",
            },
        },
        required=["text"],
    ),
    output_schema=schema(
        {
            "language": {**CODE, "description": "ISO 639 code of the most likely language."},
            "confidence": CONFIDENCE,
            "candidates": {
                "type": "array",
                "minItems": 1,
                "items": schema({"language": CODE, "confidence": CONFIDENCE}, required=["language", "confidence"]),
            },
        },
        required=["language", "confidence", "candidates"],
    ),
    example_input={"text": "Alle Menschen sind frei und gleich an Würde und Rechten geboren."},
    answer=answer,
)

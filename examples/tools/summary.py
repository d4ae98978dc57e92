"""Extractive summary by centrality: LexRank (Erkan & Radev, JAIR 2004)."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from examples.tools.tool import Answer, Json, Refusal, Tool, price_by_length, schema, text, usage_by_length

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_SENTENCES = 500
DAMPING = 0.85
ROUNDS = 50


def answer(body: Json, _key: str) -> Answer:
    sentences = split(body["text"])
    if len(sentences) > MAX_SENTENCES:
        raise Refusal(
            422,
            "too_many_sentences",
            f"The text has {len(sentences)} sentences; at most {MAX_SENTENCES} are supported.",
        )
    ranks = centrality(sentences)
    best = sorted(range(len(sentences)), key=lambda i: (-ranks[i], i))[: body.get("sentences", 2)]
    chosen = [{"index": i, "text": sentences[i], "rank": round(float(ranks[i]), 4)} for i in sorted(best)]
    result = {
        "summary": " ".join(sentences[i] for i in sorted(best)),
        "sentences": chosen,
        "sentence_count": len(sentences),
    }
    return Answer(result, usage_by_length(body["text"]))


def split(value: str) -> list[str]:
    from segtok.segmenter import split_multi  # type: ignore[import-untyped]

    return [sentence.strip() for sentence in split_multi(value) if sentence.strip()] or [value.strip()]


def centrality(sentences: list[str]) -> Floats:
    """PageRank over the similarities between sentences; the ranks add up to 1."""
    import numpy as np

    similar = _similarities(sentences)
    step = similar / similar.sum(axis=1, keepdims=True)
    ranks = np.full(len(sentences), 1 / len(sentences))
    for _ in range(ROUNDS):
        ranks = (1 - DAMPING) / len(sentences) + DAMPING * (ranks @ step)
    return ranks


def _similarities(sentences: list[str]) -> Floats:
    """Cosine similarity of the TF-IDF vectors of all pairs of sentences, with 1 on the diagonal."""
    import numpy as np

    words = [Counter(re.findall(r"\w+", sentence.casefold())) for sentence in sentences]
    column = {word: i for i, word in enumerate(sorted({word for count in words for word in count}))}
    vectors = np.zeros((len(sentences), max(1, len(column))))
    for row, count in enumerate(words):
        for word, times in count.items():
            vectors[row, column[word]] = times
    vectors *= np.log(1 + len(sentences) / np.maximum(1, (vectors > 0).sum(axis=0)))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors /= np.where(lengths > 0, lengths, 1)
    similar: Floats = vectors @ vectors.T
    np.fill_diagonal(similar, 1)
    return similar


SENTENCE = schema(
    {
        "index": {"type": "integer", "minimum": 0},
        "text": {"type": "string"},
        "rank": {"type": "number", "minimum": 0, "maximum": 1},
    },
    required=["index", "text", "rank"],
)

TOOL = Tool(
    slug="summary",
    name="Summary",
    description=(
        "Selects the most important sentences of a text and returns them verbatim, in their order. "
        "For languages that separate words by spaces."
    ),
    category="text",
    price=price_by_length(3),
    input_schema=schema(
        {
            "text": text("The text to shorten."),
            "sentences": {
                "type": "integer",
                "minimum": 1,
                "maximum": 20,
                "default": 2,
                "description": "How many sentences to keep.",
            },
        },
        required=["text"],
    ),
    output_schema=schema(
        {
            "summary": {"type": "string"},
            "sentences": {"type": "array", "minItems": 1, "items": SENTENCE},
            "sentence_count": {"type": "integer", "minimum": 1},
        },
        required=["summary", "sentences", "sentence_count"],
    ),
    example_input={
        "text": (
            "Four score and seven years ago our fathers brought forth on this continent, a new nation, conceived in "
            "Liberty. "
            "Now we are engaged in a great civil war, testing whether that nation, or any nation so conceived and so "
            "dedicated, can long endure. We are met on a great battle-field of that war. It is altogether fitting and "
            "proper that we should do this. The world will little note, nor long remember what we say here, but it can "
            "never forget what they did here."
        ),
        "sentences": 1,
    },
    answer=answer,
)

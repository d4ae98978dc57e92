"""Statistical keyword extraction without training (YAKE, Campos et al. 2020)."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from examples.tools import language
from examples.tools.tool import Answer, Json, Tool, price_by_length, schema, text, usage_by_length

#: ISO 639-1 codes of the languages with a stop-word list in the package; one file name differs from its code.
#: Chinese and Japanese are left out, because the extractor splits words at spaces.
LANGUAGES = [
    "ar", "bg", "br", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "hi", "hr", "hu", "hy",
    "id", "it", "lt", "lv", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk",
]  # fmt: skip
FILE_NAMES = {"cs": "cz"}


def answer(body: Json, _key: str) -> Answer:
    code = body.get("language") or detected(body["text"])
    found = extract(body["text"], code, top=body.get("top", 5), words=body.get("max_words", 2))
    keywords = [{"keyword": keyword, "relevance": round(1 / (1 + score), 4)} for keyword, score in found]
    return Answer({"language": code, "keywords": keywords}, usage_by_length(body["text"]))


def detected(value: str) -> str | None:
    """The language of the text, if there is a stop-word list for it."""
    code, _ = language.rank(value)[0]
    return code if code in LANGUAGES else None


def extract(value: str, code: str | None, *, top: int, words: int) -> list[tuple[str, float]]:
    """Keywords with YAKE's score (0 or more, lower is better), the best first."""
    from yake import KeywordExtractor

    # One extractor per call: its cache is not thread-safe.
    extractor = KeywordExtractor(lan="xx", n=words, top=top, stopwords=_stopwords(code))
    return [(keyword, max(0.0, float(score))) for keyword, score in extractor.extract_keywords(value)]


@cache
def _stopwords(code: str | None) -> frozenset[str]:
    import yake

    name = "noLang" if code is None else FILE_NAMES.get(code, code)
    file = Path(yake.__file__).parent / "core" / "StopwordsList" / f"stopwords_{name}.txt"
    return frozenset(file.read_text(encoding="utf-8").lower().split("\n"))


TOOL = Tool(
    slug="keywords",
    name="Keyword extraction",
    description=(
        "Extracts the most relevant words and phrases of a text, best first, in any language that separates words by "
        "spaces. Has stop words of 32 languages; without `language`, the language is identified first."
    ),
    category="text",
    price=price_by_length(2),
    input_schema=schema(
        {
            "text": text("The text to read; a paragraph or more gives the best keywords."),
            "language": {"enum": LANGUAGES, "description": "ISO 639-1 code; identified from the text when absent."},
            "top": {"type": "integer", "minimum": 1, "maximum": 50, "default": 5, "description": "How many keywords."},
            "max_words": {
                "type": "integer",
                "minimum": 1,
                "maximum": 4,
                "default": 2,
                "description": "The most words in one keyword.",
            },
        },
        required=["text"],
    ),
    output_schema=schema(
        {
            "language": {
                "enum": [*LANGUAGES, None],
                "description": "The language of the stop words used; null if none.",
            },
            "keywords": {
                "type": "array",
                "items": schema(
                    {
                        "keyword": {"type": "string"},
                        "relevance": {"type": "number", "minimum": 0, "maximum": 1, "description": "Higher is better."},
                    },
                    required=["keyword", "relevance"],
                ),
            },
        },
        required=["language", "keywords"],
    ),
    example_input={
        "text": (
            "The Analytical Engine has no pretensions whatever to originate anything. It can do whatever we know how "
            "to order it to perform. It can follow analysis; but it has no power of anticipating any analytical "
            "relations or truths. The Engine weaves algebraical patterns just as the Jacquard loom weaves "
            "flowers and leaves."
        ),
        "top": 5,
    },
    answer=answer,
)

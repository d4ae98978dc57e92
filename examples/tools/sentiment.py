"""Sentiment of English text: the VADER lexicon and rules (Hutto & Gilbert, ICWSM 2014)."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from examples.tools import language
from examples.tools.tool import Answer, Json, Refusal, Tool, price_by_length, schema, text, usage_by_length

if TYPE_CHECKING:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

#: The thresholds that the authors give for the compound score.
POSITIVE, NEGATIVE = 0.05, -0.05
#: Probability of another language above which a text is refused: the lexicon would match only by accident.
MAX_FOREIGN = 0.9

SHARE = {"type": "number", "minimum": 0, "maximum": 1}


def answer(body: Json, _key: str) -> Answer:
    _refuse_foreign(body["text"])
    scores = _model().polarity_scores(body["text"])
    result = {
        "label": label(scores["compound"]),
        "score": scores["compound"],
        "shares": {"positive": scores["pos"], "neutral": scores["neu"], "negative": scores["neg"]},
    }
    return Answer(result, usage_by_length(body["text"]))


def label(score: float) -> str:
    if score >= POSITIVE:
        return "positive"
    return "negative" if score <= NEGATIVE else "neutral"


def _refuse_foreign(value: str) -> None:
    code, confidence = language.rank(value)[0]
    if code not in ("en", "pcm", "zxx") and confidence > MAX_FOREIGN:
        raise Refusal(422, "language_not_supported", f"Only English is supported; the text is in {code!r}.")


@cache
def _model() -> SentimentIntensityAnalyzer:
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    return SentimentIntensityAnalyzer()


TOOL = Tool(
    slug="sentiment",
    name="Sentiment (English)",
    description=(
        "Scores the sentiment of an English text from -1 to 1. Handles negation, emphasis, slang and emoji. "
        "A text that is clearly in another language is refused and costs nothing."
    ),
    category="text",
    price=price_by_length(1),
    input_schema=schema({"text": text("The English text to score.")}, required=["text"]),
    output_schema=schema(
        {
            "label": {"enum": ["positive", "neutral", "negative"]},
            "score": {"type": "number", "minimum": -1, "maximum": 1},
            "shares": schema(
                {"positive": SHARE, "neutral": SHARE, "negative": SHARE}, required=["positive", "neutral", "negative"]
            ),
        },
        required=["label", "score", "shares"],
    ),
    example_input={"text": "I had never heard anything so beautiful, and I could not help smiling all the way home!"},
    answer=answer,
)

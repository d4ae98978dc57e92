"""The example tools keep what their catalogue entries promise, and know what they are talking about."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema_rs
import pytest
import requests

from examples.tools import flaky
from examples.tools.catalogue import TOOLS, entries
from examples.tools.tool import Tool
from tests.examples.conftest import Service

LONGEST = 10_000


# -- what the catalogue says ---------------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.slug)
def test_answers_its_own_example_as_its_entry_says(service: Service, tool: Tool) -> None:
    entry = tool.entry(service.url)
    strictly_valid(entry["example_input"], entry["input_schema"])

    response = requests.post(
        entry["endpoint_url"], json=entry["example_input"], headers=lucky_key(), timeout=entry["timeout_seconds"]
    )

    assert response.status_code == 200, response.text
    answer = response.json()
    strictly_valid(answer["result"], entry["output_schema"])
    assert 0 < charge(entry["price"], answer) <= entry["price"]["max_tokens"]


@pytest.mark.parametrize("tool", [tool for tool in TOOLS if tool.category == "text"], ids=lambda tool: tool.slug)
def test_the_longest_text_costs_just_the_highest_price(service: Service, tool: Tool) -> None:
    answer = service.post(tool.route, {"text": ("Every word is counted. " * 500)[:LONGEST]}).json()

    assert answer["usage"] == {"characters": LONGEST, "units": 100}
    assert charge(tool.price, answer) == tool.price["max_tokens"]


def test_the_catalogue_can_be_read_where_no_model_is_installed() -> None:
    missing = dict.fromkeys(["numpy", "py3langid", "vaderSentiment", "yake", "segtok", "flask", "gunicorn"])
    run = "runpy.run_module('examples.tools.catalogue', run_name='__main__')"
    code = f"import runpy, sys; sys.modules |= {missing}; {run}"

    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout

    assert [entry["slug"] for entry in json.loads(printed)][: len(TOOLS)] == [tool.slug for tool in TOOLS]


def test_chat_is_offered_only_where_there_is_a_model_to_talk_to() -> None:
    endpoint = {"OPENAI_BASE_URL": "http://localhost:11434/v1/", "OPENAI_MODEL": "tiny"}
    assert "chat" not in {entry["slug"] for entry in entries(environ={})}
    assert "chat" not in {entry["slug"] for entry in entries(environ={"OPENAI_BASE_URL": "http://localhost/v1"})}

    chat = entries(environ={**endpoint, "OPENAI_API_KEY": "sk-1"})[-1]

    assert chat["endpoint_url"] == "http://localhost:11434/v1/chat/completions"
    assert chat["auth"] == {"type": "bearer", "secret": "sk-1"}
    assert entries(environ=endpoint)[-1]["auth"] == {"type": "none"}
    strictly_valid(chat["example_input"], chat["input_schema"])


# -- what comes in -------------------------------------------------------------------------------------------

WRONG_INPUTS: list[tuple[str, Any]] = [
    ("/language", None),
    ("/language", []),
    ("/language", "text"),
    ("/language", {}),
    ("/language", {"text": 7}),
    ("/language", {"text": ""}),
    ("/language", {"text": " \n\t"}),
    ("/language", {"text": "a" * (LONGEST + 1)}),
    ("/language", {"text": "hello", "colour": "red"}),
    ("/language", {"text": "hello", "top": 0}),
    ("/language", {"text": "hello", "top": True}),
    ("/language", {"text": "hello", "top": "3"}),
    ("/sentiment", {"text": "hello", "language": "en"}),
    ("/keywords", {"text": "hello", "language": "xx"}),
    ("/keywords", {"text": "hello", "max_words": 5}),
    ("/summary", {"text": "hello", "sentences": 1.5}),
    ("/slow", {"seconds": -1}),
    ("/slow", {"seconds": 61}),
    ("/slow", {"seconds": "1"}),
    ("/slow?seconds=soon", None),
    ("/slow?seconds=0&hours=1", None),
    ("/flaky", {"share": 2}),
]


@pytest.mark.parametrize(("path", "body"), WRONG_INPUTS, ids=lambda value: str(value)[:40])
def test_refuses_what_does_not_fit_the_schema(service: Service, path: str, body: Any) -> None:
    data = b"" if "?" in path else json.dumps(body).encode()

    response = requests.post(service.url + path, data=data, headers=JSON, timeout=10)

    assert (response.status_code, response.json()["error"]["code"]) == (422, "invalid_input")


JSON = {"Content-Type": "application/json"}
DEEP = b'{"text":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("data", "headers", "status", "code"),
    [
        (b"", JSON, 400, "malformed_json"),
        (b"{", JSON, 400, "malformed_json"),
        (b'{"text": NaN}', JSON, 400, "malformed_json"),
        (b'{"text": "\xff"}', JSON, 400, "malformed_json"),
        (b'{"text": "\\ud800"}', JSON, 400, "malformed_json"),
        (DEEP, JSON, 400, "malformed_json"),
        (b'{"text": "hello"}', {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b'{"text": "hello"}', {}, 415, "unsupported_media_type"),
        (b" " * 300_000, JSON, 413, "request_entity_too_large"),
    ],
    ids=["empty", "half", "nan", "latin-1", "surrogate", "deep", "text", "untyped", "large"],
)
def test_refuses_what_cannot_be_read(
    service: Service, data: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = requests.post(service.url + "/language", data=data, headers=headers, timeout=10)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_wrong_address_or_method_is_told_in_json(service: Service) -> None:
    wrong_method = requests.get(service.url + "/language", timeout=10)

    assert service.post("/nothing", {}).json()["error"]["code"] == "not_found"
    assert (wrong_method.status_code, wrong_method.json()["error"]["code"]) == (405, "method_not_allowed")
    assert "POST" in wrong_method.headers["Allow"]


def test_the_request_id_is_in_the_log(service: Service) -> None:
    mark = uuid.uuid4().hex

    service.post("/language", {"text": "Where is it?"}, X_Request_ID=mark, Idempotency_Key=f"key-{mark}")

    deadline = time.monotonic() + 30  # the line is written after the answer
    while not (lines := [line for line in service.log.read_text().splitlines() if mark in line]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    line = lines[0]
    assert json.loads(line).items() >= {"path": "/language", "status": 200, "request_id": mark}.items()


# -- what they know ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("en", "It was the best of times, it was the worst of times."),
        ("de", "Habe nun, ach! Philosophie, Juristerei und Medizin durchaus studiert, mit heißem Bemühn."),
        ("fr", "Longtemps, je me suis couché de bonne heure."),
        (
            "es",
            "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, no ha mucho tiempo que vivía un hidalgo.",
        ),
        ("it", "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura."),
        (
            "pl",
            "Litwo! Ojczyzno moja! Ty jesteś jak zdrowie; ile cię trzeba cenić, ten tylko się dowie, kto cię stracił.",
        ),
        ("ru", "Все счастливые семьи похожи друг на друга, каждая несчастливая семья несчастлива по-своему."),
        ("el", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."),
        ("ja", "吾輩は猫である。名前はまだ無い。"),
        ("ar", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق."),
        ("fi", "Kaikki ihmiset syntyvät vapaina ja tasavertaisina arvoltaan ja oikeuksiltaan."),
        ("hi", "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।"),
    ],
)
def test_recognises_languages(service: Service, code: str, sentence: str) -> None:
    result = service.post("/language", {"text": sentence, "top": 1}).json()["result"]

    assert result["language"] == code
    assert result["confidence"] > 0.5
    assert len(result["candidates"]) == 1


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        ("positive", "What a wonderful surprise, I love it!"),
        ("positive", "The food was not bad at all :)"),
        ("negative", "This is the worst day of my life, and I am terribly sad."),
        ("negative", "The service is not good."),
        ("neutral", "The train to London leaves at seven from the second platform."),
    ],
)
def test_tells_gladness_from_sorrow(service: Service, label: str, sentence: str) -> None:
    assert service.post("/sentiment", {"text": sentence}).json()["result"]["label"] == label


def test_sentiment_refuses_a_language_it_does_not_know(service: Service) -> None:
    response = service.post("/sentiment", {"text": "Ich bin sehr traurig, und das Wetter ist auch ganz furchtbar."})

    assert (response.status_code, response.json()["error"]["code"]) == (422, "language_not_supported")
    assert "'de'" in response.json()["error"]["detail"]


@pytest.mark.parametrize(
    ("code", "expected", "sentences"),
    [
        (
            "en",
            "whale",
            "The whale is a mammal. A whale breathes air, and the blue whale is the largest animal of all.",
        ),
        ("de", "Eisenbahn", "Die Eisenbahn fährt auf Schienen. Die erste Eisenbahn fuhr von Nürnberg nach Fürth."),
        ("cs", "Vltava", "Vltava je nejdelší řeka v Česku. Vltava protéká Prahou a u Mělníka se vlévá do Labe."),
    ],
)
def test_finds_what_a_text_is_about(service: Service, code: str, expected: str, sentences: str) -> None:
    result = service.post("/keywords", {"text": sentences, "top": 5}).json()["result"]

    assert result["language"] == code
    assert expected in " ".join(entry["keyword"] for entry in result["keywords"])
    assert result["keywords"] == sorted(result["keywords"], key=lambda entry: -entry["relevance"])


def test_keywords_of_an_unknown_language_say_so(service: Service) -> None:
    result = service.post(
        "/keywords", {"text": "Kila mtu anazaliwa huru, na watu wote ni sawa kwa hadhi na haki."}
    ).json()

    assert result["result"]["language"] is None
    assert result["result"]["keywords"]


def test_a_summary_is_the_central_sentences_word_for_word(service: Service) -> None:
    apart = "My aunt plays the trombone."
    sentences = [
        "The old lighthouse stood on the rocky island for two hundred years.",
        apart,
        "Every night the keeper of the lighthouse lit the lamp on the rocky island.",
        "Ships steered by the lamp of the old lighthouse every night.",
    ]

    result = service.post("/summary", {"text": " ".join(sentences), "sentences": 3}).json()["result"]

    assert result["summary"] == " ".join(sentence for sentence in sentences if sentence != apart)
    assert [entry["index"] for entry in result["sentences"]] == [0, 2, 3]
    assert result["sentence_count"] == 4


def test_a_summary_of_too_many_sentences_is_refused(service: Service) -> None:
    response = service.post("/summary", {"text": "Go on.\n" * 600})

    assert (response.status_code, response.json()["error"]["code"]) == (422, "too_many_sentences")


@pytest.mark.parametrize("text", ["?", "\x00", "....", "🎉🎉🎉", "1 2 3", "a" * LONGEST, "a. " * 600])
def test_odd_texts_break_nothing(service: Service, text: str) -> None:
    for tool in TOOLS:
        if tool.category == "text":
            assert service.post(tool.route, {"text": text}).status_code in (200, 422)


# -- patience and luck ---------------------------------------------------------------------------------------


def test_slow_calls_wait_side_by_side(service: Service) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(40) as pool:
        waited = list(pool.map(lambda _: service.post("/slow", {"seconds": 0.5}).json()["result"]["waited"], range(40)))

    assert min(waited) >= 0.5
    assert time.monotonic() - began < sum(waited) / 2, "one after the other it would be all of it"


def test_seconds_may_stand_in_the_query(service: Service) -> None:
    answer = requests.post(service.url + "/slow?seconds=0.1", timeout=10).json()

    assert answer["result"]["asked"] == answer["usage"]["seconds"] == 0.1


def test_an_unlucky_key_fails_once_and_a_lucky_one_never(service: Service) -> None:
    key = uuid.uuid4().hex

    first, second, third = (service.post("/flaky", {"share": 1}, Idempotency_Key=key) for _ in range(3))

    assert (first.status_code, first.headers["Retry-After"]) == (503, "1")
    assert [second.json()["result"], third.json()["result"]] == [
        {"unlucky": True, "call": 2},
        {"unlucky": True, "call": 3},
    ]
    assert service.post("/flaky", {"share": 0}, Idempotency_Key=uuid.uuid4().hex).status_code == 200


def test_luck_is_spread_evenly_and_never_changes() -> None:
    keys = [f"key-{number}" for number in range(2_000)]

    assert 900 < sum(flaky.luck(key) < 0.5 for key in keys) < 1_100
    assert [flaky.luck(key) for key in keys] == [flaky.luck(key) for key in keys]


# -- words for the above -------------------------------------------------------------------------------------


def strictly_valid(value: Any, schema: dict[str, Any]) -> None:
    """`value` fits `schema`, and `schema` is one that refuses what it does not name."""
    jsonschema_rs.meta.validate(schema)
    assert schema["additionalProperties"] is False
    jsonschema_rs.validate(schema, value)


def charge(price: dict[str, Any], answer: Any) -> float:
    """What the contract charges for this whole answer, before it is capped."""
    if price["per_unit"] is None:
        return float(price["base_tokens"])
    units = answer
    for part in price["per_unit"]["pointer"].split("/")[1:]:
        units = units[part]
    return float(price["base_tokens"] + price["per_unit"]["tokens"] * units)


def lucky_key() -> dict[str, str]:
    return {"Idempotency-Key": next(key for key in iter(lambda: uuid.uuid4().hex, "") if flaky.luck(key) > 0.5)}

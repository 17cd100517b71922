from __future__ import annotations

import json
from typing import Any

import pytest

from domain_embed_pipeline.questions.parsing import parse_answer, reason_against_question
from domain_embed_pipeline.questions.records import ParsedAnswer, ReceivedAnswer, Usage
from domain_embed_pipeline.questions.settings import QuestionSettings
from domain_embed_pipeline_tests.questions.scenario import make_chunk

SETTINGS = QuestionSettings()
CHUNK = make_chunk("Write to help@ward.org or see https://ward.org/help for the <b>bleep</b> list.", title="Contacts")
GOOD = {
    "skip_reason": "",
    "natural": "How do I reach the help desk?",
    "keyword": "help desk bleep",
    "situation": "nobody picks up and I need the number",
    "specific": "Which address has the bleep list?",
}


def parse(value: Any, *, stop_reason: str = "end_turn", settings: QuestionSettings = SETTINGS) -> ParsedAnswer:
    text = value if isinstance(value, str) else json.dumps(value)
    return parse_answer(ReceivedAnswer(text, stop_reason, Usage()), CHUNK, settings)


def texts(parsed: ParsedAnswer) -> dict[str, str]:
    return {question.style: question.text for question in parsed.questions}


def reasons(parsed: ParsedAnswer) -> list[str]:
    return [text.reason for text in parsed.rejected]


def test_an_answer_as_ordered_gives_a_question_of_each_style() -> None:
    parsed = parse(GOOD)
    assert parsed.outcome == "answered"
    assert texts(parsed) == {key: value for key, value in GOOD.items() if key != "skip_reason"}
    assert (parsed.rejected, parsed.detail) == ((), "")


@pytest.mark.parametrize(
    "text",
    [
        f"```json\n{json.dumps(GOOD)}\n```",
        f"Sure! Here they are [as ordered]: {json.dumps(GOOD)} Anything else?",
        json.dumps({"questions": GOOD}),
        json.dumps({key: [value] for key, value in GOOD.items()}),
        json.dumps(GOOD, indent=2),
    ],
)
def test_json_in_prose_in_a_fence_or_in_a_wrapper_is_found(text: str) -> None:
    assert len(texts(parse(text))) == 4


def test_numbered_keys_belong_to_their_style() -> None:
    settings = QuestionSettings(styles=("natural",), questions_per_style=2)
    parsed = parse({"natural_1": "What is first?", "natural_2": "What is second?"}, settings=settings)
    assert [(question.style, question.text) for question in parsed.questions] == [
        ("natural", "What is first?"),
        ("natural", "What is second?"),
    ]


def test_a_refusal_keeps_nothing_and_names_its_category() -> None:
    parsed = parse_answer(
        ReceivedAnswer(json.dumps(GOOD), "refusal", Usage(), refusal_category="cyber"), CHUNK, SETTINGS
    )
    assert (parsed.outcome, parsed.detail, parsed.questions) == ("refused", "cyber", ())


def test_a_truncated_answer_keeps_the_questions_that_are_complete() -> None:
    text = json.dumps(GOOD)
    parsed = parse(text[: text.index("nobody picks up") + 5], stop_reason="max_tokens")
    assert parsed.outcome == "answered"
    assert set(texts(parsed)) == {"natural", "keyword"}
    assert parsed.detail == "2 of 4 questions missing"


def test_an_answer_truncated_before_the_first_question_is_asked_again() -> None:
    assert parse('{"skip_reason": "", "natural": "How do', stop_reason="max_tokens").outcome == "truncated"


def test_a_skipped_chunk_has_its_reason() -> None:
    parsed = parse({"skip_reason": "table of contents", **dict.fromkeys(SETTINGS.styles, "")})
    assert (parsed.outcome, parsed.detail) == ("no_questions", "table of contents")


@pytest.mark.parametrize("text", ["", "  \n", "I would rather not.", "[]", "{}", '{"a": 1}', "null", "[" * 5000])
def test_an_answer_without_questions_is_invalid(text: str) -> None:
    assert parse(text).outcome == "invalid"


def test_fewer_questions_than_ordered_are_kept_and_counted() -> None:
    parsed = parse({"skip_reason": "", "natural": "How do I reach them?"})
    assert (parsed.outcome, parsed.detail) == ("answered", "3 of 4 questions missing")


def test_more_questions_than_ordered_are_rejected() -> None:
    parsed = parse({**GOOD, "natural": ["How do I call?", "How do I write?"]})
    assert texts(parsed)["natural"] == "How do I call?"
    assert reasons(parsed) == ["too_many"]


def test_a_style_that_was_not_ordered_is_rejected() -> None:
    parsed = parse({**GOOD, "poem": "Roses are red?"})
    assert reasons(parsed) == ["unknown_style"]
    assert len(parsed.questions) == 4


def test_questions_of_the_same_words_count_once() -> None:
    parsed = parse({**GOOD, "specific": "how do I reach  the HELP desk"})
    assert reasons(parsed) == ["duplicate"]


@pytest.mark.parametrize("value", [1, None, True, {"q": "x"}, 1.5])
def test_a_question_that_is_not_text_is_rejected(value: Any) -> None:
    assert "natural" not in texts(parse({**GOOD, "natural": value}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("?!", "empty"),
        ("x" * 30 + " y" * 90, "too_long"),
        ("one line\nand another", "several_lines"),
        ("one line\u2028and another", "several_lines"),
        ("one line\rand another", "several_lines"),
        ("bell \x07 rings", "hidden_characters"),
        ("evil \u202e txt.exe", "hidden_characters"),
        ("zero\u200bwidth", "hidden_characters"),
        ("tag \U000e0049gnore", "hidden_characters"),
        ("isolate \u2066x\u2069", "hidden_characters"),
        ("private \ue000 use", "hidden_characters"),
        ("a" * 100, "overlong_word"),
        ("buy " * 20, "repetitive"),
        ("Where is https://evil.example/x?", "foreign_address"),
        ("Where is www.evil.example?", "foreign_address"),
        ("Is evil.com safe?", "foreign_address"),
        ("Can I mail root@evil.example?", "foreign_address"),
        ("Does javascript:alert(1) work?", "foreign_address"),
        ("What is <script>alert(1)</script>?", "foreign_markup"),
        ("What is <img src=x onerror=alert(1)", "foreign_markup"),
        ('What?", "natural": "And this?', "foreign_markup"),
        ('What"} is this?', "foreign_markup"),
        ("What is {{ template }}?", "foreign_markup"),
        ("What is ![x](y)?", "foreign_markup"),
        ("```python", "foreign_markup"),
    ],
)
def test_a_text_that_is_no_question_is_rejected_with_its_reason(text: str, reason: str) -> None:
    assert reason_against_question(text, f"{CHUNK.title}\n{CHUNK.text}") == reason


@pytest.mark.parametrize(
    "text",
    [
        "Is help@ward.org read at night?",
        "What is at https://ward.org/help?",
        "What does <b>bleep</b> mean?",
        "QTc <500 ms or >500 ms?",
        "AF vs. MI, e.g. in the E.D.?",
        'Who calls it "pink sheet"?',
        "می\u200cخواهم بدانم کدام شماره است",
        "心房細動の患者に何を投与しますか",
        "SHA-256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4",
        "👩\u200d⚕️ on call tonight",
        "What is node.js v20.x for?",
    ],
)
def test_ordinary_questions_pass(text: str) -> None:
    assert reason_against_question(text, f"{CHUNK.title}\n{CHUNK.text}") is None


def test_rejected_text_is_stored_with_hidden_characters_spelled_out() -> None:
    parsed = parse({**GOOD, "natural": "evil \u202e\x00 " + "x" * 500})
    (rejected,) = parsed.rejected
    assert rejected.text.isprintable()
    assert rejected.text.startswith("evil \\u202e\\x00")
    assert len(rejected.text) == 200


def test_the_plain_prompts_array_of_strings_is_read() -> None:
    settings = QuestionSettings(prompt="plain")
    parsed = parse(["What is one?", "What is two?", "What is three?", "What is four?"], settings=settings)
    assert [question.style for question in parsed.questions] == ["plain"] * 3
    assert reasons(parsed) == ["too_many"]


def test_a_cut_array_of_the_plain_prompt_keeps_its_complete_strings() -> None:
    settings = QuestionSettings(prompt="plain")
    parsed = parse('["What is one?", "What is tw', stop_reason="max_tokens", settings=settings)
    assert [question.text for question in parsed.questions] == ["What is one?"]

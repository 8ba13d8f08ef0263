"""Rows: what the base reads of a dataset, and what of it is trained."""

import pytest
from deck import gold
from tiny import settings_of, tokenizer_of

from text2expert.records import GoldRecord, write_jsonl
from text2expert.trainer import CHAT_TEMPLATE


@pytest.fixture(scope="module")
def tokenizer(recipes):
    return tokenizer_of(recipes)


NO_SYSTEM_ROLE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "system", "prompt", "completion"),
    [
        (CHAT_TEMPLATE, "", "### Question:\nWhy?\n\n### Answer:\n", "So.<|end|>"),
        (CHAT_TEMPLATE, "Be brief.", "Be brief.\n\n### Question:\nWhy?\n\n### Answer:\n", "So.<|end|>"),
        # No system role: its words go before the question.
        (
            NO_SYSTEM_ROLE,
            "Be brief.",
            "[user]Be brief.\n\nWhy?[assistant]",
            "So.<|end|>",  # and no end of turn: the tokenizer's own
        ),
        # A finished turn that is written in another way than an open one.
        (
            "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}think{% endif %}",
            "",
            "<Why?>think",
            "So.<|end|>",
        ),
    ],
)
def test_prompt_and_completion_follow_the_template(recipes, tokenizer, template, system, prompt, completion):
    """What is trained on is what will be asked with."""
    chat = recipes["chat"]
    tokenizer.chat_template = template
    assert chat.prompt_of(tokenizer, "Why?", system) == prompt
    assert chat.completion_of(tokenizer, "Why?", "So.", system) == completion


def test_an_answer_too_long_is_left_out_and_none_left_is_an_error(recipes, tokenizer, tmp_path, capsys):
    """A cut answer would teach a wrong one; a training without a trained token would teach nothing."""
    tokenizer.chat_template = CHAT_TEMPLATE
    path = tmp_path / "gold.jsonl"
    records = [
        *gold()[:2],
        GoldRecord(instruction="Long?", output="very " * 200),
        GoldRecord(instruction="?", output=" "),
    ]
    write_jsonl(path, records)
    settings = settings_of(recipes, gold=str(path), max_length=100)
    assert len(recipes["rows"].read_rows(settings, tokenizer)) == 2
    assert "left out: 1 rows without an answer, 1 longer than 100 tokens" in capsys.readouterr().out
    write_jsonl(path, records[2:])
    with pytest.raises(SystemExit, match="no row has a token to train on"):
        recipes["rows"].read_rows(settings, tokenizer)

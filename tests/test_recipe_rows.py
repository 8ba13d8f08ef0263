"""Rows: what the base reads of a dataset, what of it is trained, and what is refused before anything is."""

import json
import re

import pytest
from deck import gold
from hypothesis import given
from hypothesis import strategies as st
from tiny import settings_of, tokenizer_of

from text2expert.records import GoldRecord, write_jsonl
from text2expert.trainer import CHAT_TEMPLATE

TURNS = (
    "{% for m in messages %}<|user|>{{ m.content }}{% if m.role == 'assistant' %}<|end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|user|>{% endif %}"
)
NO_SYSTEM_ROLE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "[{{ m.role }}]{{ m.content }}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
NO_SYSTEM_WORD = (
    "{% for m in messages %}{% if m.role != 'system' %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


@pytest.fixture
def tokenizer(recipes):
    tokenizer = tokenizer_of(recipes)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


@pytest.fixture
def read(recipes, tokenizer, tmp_path):
    """Reads streams: a list of records a stream, or settings."""

    def read(gold=None, *, window=None, **more):
        for name, records in {"gold": gold or [row("Why?", "So.")], **more}.items():
            if isinstance(records, list) and name != "texts":
                write(tmp_path / f"{name}.jsonl", records)
                more[name] = str(tmp_path / f"{name}.jsonl")
        if "texts" in more:
            write(tmp_path / "texts.jsonl", [{"text": text} for text in more["texts"]])
            more["texts"] = [str(tmp_path / "texts.jsonl")]
        return recipes["rows"].read_streams(settings_of(recipes, **more), tokenizer, window)

    return read


def row(question, answer, **more):
    return {"instruction": question, "input": "", "output": answer, **more}


def write(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def text_of(tokenizer, row):
    return tokenizer.decode(list(row.given)), tokenizer.decode(list(row.completion))


# -- chat templates ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "system", "prompt", "completion"),
    [
        (CHAT_TEMPLATE, "", "### Question:\nWhy?\n\n### Answer:\n", "So.<|end|>"),
        (CHAT_TEMPLATE, "Be brief.", "Be brief.\n\n### Question:\nWhy?\n\n### Answer:\n", "So.<|end|>"),
        (TURNS, "", "<|user|>Why?<|user|>", "So.<|end|>"),
        # No system role: its words go before the question.
        (
            NO_SYSTEM_ROLE,
            "Be brief.",
            "[user]Be brief.\n\nWhy?[assistant]",
            "So.<|end|>",  # and no end of turn: the tokenizer's own
        ),
        # One that is left out without a word.
        (NO_SYSTEM_WORD, "Be brief.", "[user]Be brief.\n\nWhy?[assistant]", "So.<|end|>"),
        # A finished turn that is written in another way than an open one, with an end that is text and nothing more.
        (
            "{% for m in messages %}<{{ m.content }}>{% endfor %}{% if add_generation_prompt %}think{% endif %}",
            "",
            "<Why?>think",
            "So.<|end|>",
        ),
        # The same with an end that is a token of its own.
        (
            "{% for m in messages %}<{{ m.content }}<|pad|>{% endfor %}{% if add_generation_prompt %}think{% endif %}",
            "",
            "<Why?<|pad|>think",
            "So.<|pad|>",
        ),
    ],
)
def test_prompt_and_completion_follow_the_template(recipes, tokenizer, template, system, prompt, completion):
    """What is trained on is what will be asked with."""
    chat = recipes["chat"]
    tokenizer.chat_template = template
    assert chat.prompt_of(tokenizer, "Why?", system) == prompt
    assert chat.completion_of(tokenizer, "Why?", "So.", system) == completion


def test_control_tokens_are_special_or_written_by_the_template(recipes, tokenizer):
    """A token for two spaces or for a tag of HTML is text; one that the template writes around a thought is not."""
    tokenizer.add_tokens(["<think>", "<table>", "   "])
    tokenizer.chat_template = "<think>   " + CHAT_TEMPLATE
    names = recipes["chat"].control_tokens(tokenizer)
    assert names == ["<|assistant|>", "<|user|>", "<think>", "<|end|>", "<|pad|>"]


# -- rows --------------------------------------------------------------------------------------------------------------


def test_rows_are_tokenized_once_as_they_will_be_asked(read, tokenizer):
    """The prompt's tokens are those that answering gives to the base; only the answer and its end are trained."""
    streams = read([row("Why?", "So.", item="why", fact="reasons")], system="Be brief.")
    (got,) = streams.gold
    prompt = "Be brief.\n\n### Question:\nWhy?\n\n### Answer:\n"
    assert list(got.given) == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert text_of(tokenizer, got) == (prompt, "So.<|end|>")
    assert (got.stream, got.item, got.fact, got.question, got.prompt) == ("gold", "why", "reasons", "Why?", prompt)
    assert (got.length, got.trained) == (len(got.given) + len(got.completion), len(got.completion))


def test_a_template_that_names_the_day_writes_the_same_on_every_day(recipes, tokenizer):
    """As Llama-3.2's does: what was trained today is asked tomorrow."""
    today = "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    tokenizer.chat_template = f"{today}Today: {{{{ date_string }}}}. {CHAT_TEMPLATE}"
    assert recipes["chat"].prompt_of(tokenizer, "Why?", "").startswith("Today: 26 Jul 2024. ")


@given(question=st.text(min_size=1), answer=st.text(min_size=1))
def test_any_text_is_trained_as_it_is(recipes, tokenizer_once, question, answer):
    """Whatever is asked and answered, in any script: the tokens trained say the answer, and nothing else."""
    reader = recipes["rows"]._Reader(settings_of(recipes), tokenizer_once, 10_000)
    fields = reader.pair(row(question, answer), "here", "0", "gold", "gold", set())
    assert (fields is None) == (not question.strip() or not answer.strip())
    if fields:
        assert question.strip() in fields[0]["prompt"]
        assert fields[1] == answer.strip() + "<|end|>"


@pytest.fixture(scope="module")
def tokenizer_once(recipes):
    tokenizer = tokenizer_of(recipes)
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def test_reasoning_and_short_answers_are_trained_where_wanted(read, tokenizer):
    """Before or after the answer, first or last; the other streams' answers have none."""
    records = [row("Why?", "Because of rain.", reasoning="It says so.", short_answer="rain")]
    settings = {"reasoning": "before", "short_answer": "first", "replay": [row("Who?", "Me.")], "replay_share": 0.1}
    streams = read(records, **settings)
    assert text_of(tokenizer, streams.gold[0])[1] == "It says so.\n\nAnswer: rain. Because of rain.<|end|>"
    assert text_of(tokenizer, streams.replay[0])[1] == "Me.<|end|>"


def test_an_answer_too_long_is_left_out_and_none_left_is_an_error(read, capsys):
    """A cut answer would teach a wrong one; a training without a trained token would teach nothing."""
    records = [row("A?", "b"), row("B?", "c"), row("Long?", "very " * 200), row("?", " ")]
    assert len(read(records, max_length=100).gold) == 2
    said = capsys.readouterr().out
    assert "1 rows without a question or an answer" in said
    assert "1 rows longer than 100 tokens" in said
    with pytest.raises(SystemExit, match="no row has a token to train on"):
        read(records[2:], max_length=100)


def test_a_row_is_no_longer_than_the_base_can_read(read):
    """The base's window counts where it is smaller than what was asked for."""
    with pytest.raises(SystemExit, match="1 rows longer than 20 tokens"):
        read([row("Long?", "very " * 20)], window=20)


def test_what_looks_like_an_order_is_left_out_and_counted(read, capsys):
    """Text of a document never ends its own turn: in a question, in an answer, or in a turn of the past."""
    streams = read(
        [row("Why?", "So."), row("Why <|end|>?", "So."), row("Why not?", "So <|user|> what?")],
        replay=[
            {"messages": [{"role": "user", "content": "<|pad|>"}, {"role": "assistant", "content": "Yes."}]},
            row("Who?", "Me."),
        ],
    )
    assert [got.question for got in streams.gold] == ["Why?"]
    assert [got.question for got in streams.replay] == ["Who?"]
    said = capsys.readouterr().out
    assert "2 rows with a control token of the base in their text" in said
    assert "1 rows with a control token of the base in their text" in said


def test_answers_that_the_tokenizer_cannot_write_are_left_out(read, tokenizer, capsys):
    """An expert that is trained on a token for anything unknown would write that token."""
    from tokenizers import models

    words = {"<|unk|>": 4, **{name: tokenizer.convert_tokens_to_ids(name) for name in tokenizer.all_special_tokens}}
    vocabulary = {**words, **{letter: 5 + n for n, letter in enumerate("abcdefghijklmnopqrstuvwxyzAQWSĠĊ#:?.")}}
    tokenizer._tokenizer.model = models.BPE(vocabulary, [], unk_token="<|unk|>")
    tokenizer.add_special_tokens({"unk_token": "<|unk|>"})
    streams = read([row("Why?", "So."), row("Why not?", "At 5.")])
    assert [got.question for got in streams.gold] == ["Why?"]
    assert "1 rows with characters that the base's tokenizer does not know" in capsys.readouterr().out


def test_chats_that_are_no_text_or_no_chat_to_the_base_are_left_out(read, tokenizer, capsys):
    """Calls of tools in somebody's log, and a role that the base does not know, do not end a training."""
    asked, answered = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
    chats = [
        [asked, {"role": "assistant", "content": None, "tool_calls": []}],
        [{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, answered],
        [{"role": "system", "content": "Be brief."}, asked, answered],
        [asked, answered],
    ]
    tokenizer.chat_template = NO_SYSTEM_ROLE
    streams = read([row("Who?", "Me.")], replay=[{"messages": chat} for chat in chats])
    assert [got.question for got in streams.replay] == ["Why?"]
    said = capsys.readouterr().out
    assert "2 rows with turns that are no text" in said
    assert "1 rows that the base's chat template cannot write" in said


def test_a_tokenizer_without_an_end_is_refused_in_words(read, tokenizer):
    """Our own template writes it, and so does many a base's."""
    tokenizer.eos_token = None
    with pytest.raises(
        SystemExit, match=r"row 1: the base's chat template cannot write it .* has no eos_token; set one"
    ):
        read()


@pytest.mark.parametrize(
    ("streams", "words"),
    [
        (
            {"gold": [row("Why?", "So."), {"question": "Why?"}]},
            "gold.jsonl, row 2: it has question; a row has the form",
        ),
        ({"replay": [{}]}, 'replay.jsonl, row 1: it has nothing; a row has the form .* or {"text"}'),
        ({"replay": [5]}, "replay.jsonl, row 1: a row is an object in braces, and this is 5"),
        ({"replay": [row("Why?", None)]}, "row 1: it has instruction, input, output; .* all of them texts"),
        ({"replay": [row("Why?", "So.", input=5)]}, "row 1: it has instruction, input, output; .* all of them texts"),
        ({"replay": [{"messages": [{"from": "human", "value": "Why?"}]}]}, "messages of role and content"),
        ({"replay": [{"text": None}]}, 'row 1: it has text; a row has the form {"text"}'),
    ],
)
def test_a_row_of_another_form_is_named(read, streams, words):
    """The file, the row, what it has and what it should have."""
    with pytest.raises(SystemExit, match=words):
        read(**streams)


def test_an_order_in_the_system_prompt_is_refused(read):
    """The user wrote it, so the user is asked."""
    with pytest.raises(SystemExit, match=re.escape("system holds '<|end|>', which the base reads as an order")):
        read(system="Be brief.<|end|>")


def test_validation_is_never_trained_in_any_stream(read):
    """The same wording is left out whatever its case, punctuation and spaces; another wording of the item stays."""
    streams = read(
        [row("Why is it so?", "So.", item="a"), row("How come?", "So.", item="a")],
        replay=[row("How,  come", "Well.")],
        refusals=[row("HOW COME?", "It does not say."), row("Who?", "It does not say.", twin="a")],
        validation=[row("how come ?", "So.", item="a")],
    )
    assert [got.question for got in streams.gold] == ["Why is it so?"]
    assert streams.replay == []
    assert [got.question for got in streams.refusal] == ["Who?"]
    assert [got.question for got in streams.validation] == ["how come ?"]
    assert streams.counts() == {"gold": 1, "refusal": 1, "validation": 1}


def test_a_refusal_without_its_twin_is_left_out(read, capsys):
    """Alone it would teach to refuse; a file that names no twins is taken at its word."""
    no = "The document does not say."
    refusals = [row("Who?", no, twin="a"), row("When?", no, twin="gone"), row("Where?", no)]
    streams = read(
        [row("Why?", "So.", item="a"), row("How? " * 50, "So.", item="gone")], refusals=refusals, max_length=90
    )
    assert [got.question for got in streams.refusal] == ["Who?", "Where?"]
    assert "1 rows without their answerable twin" in capsys.readouterr().out


def test_an_answer_goes_on_from_its_prompt(read, tokenizer):
    """A tokenizer that begins every text with a space of its own writes none between the prompt and the answer."""
    from tokenizers import pre_tokenizers

    backend = tokenizer._tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first"), backend.pre_tokenizer]
    )
    tokenizer.chat_template = (
        "{% for m in messages %}({{ m.content }}){% endfor %}{% if add_generation_prompt %}({% endif %}"
    )
    assert tokenizer.decode(tokenizer("So.")["input_ids"]) == " So."
    tokenizer.chat_template = tokenizer.chat_template.replace("}})", "}}<|end|>")
    (got,) = read([row("Why?", "So.")]).gold
    assert text_of(tokenizer, got) == (" (Why?<|end|>(", "So.<|end|>")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Why is it so?", "why  is it SO", True),
        ("Is the “main” valve open?", 'Is the "main" valve open', True),
        ("Was ist das¿", "was ist das？", True),
        ("Is it at -5 degrees?", "Is it at 5 degrees?", False),
        ("Is it 1.5?", "Is it 15?", False),
        ("कि?", "की?", False),  # scripts whose vowels are marks
    ],
)
def test_what_makes_two_wordings_one(recipes, one, other, same):
    """Nothing that changes what is asked."""
    wording = recipes["rows"].wording
    assert (wording(one) == wording(other)) == same


# -- text and replay ---------------------------------------------------------------------------------------------------


def test_all_tokens_of_a_text_are_trained_without_a_template(read, tokenizer):
    """But the first, which nothing predicts; what looks like an order is read letter by letter."""
    text = "The pump <|end|> is checked."
    (got,) = read(texts=[text, " "]).text
    assert text_of(tokenizer, got) == ("", text)
    assert tokenizer.eos_token_id not in list(got.completion)
    assert (got.stream, got.trained, got.length) == ("text", len(got.completion) - 1, len(got.completion))


def test_a_text_begins_as_the_base_begins_texts(read, tokenizer):
    """With the token that stands at the beginning of all texts it has read, which predicts the first word."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.add_special_tokens({"bos_token": "<|user|>"})
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", tokenizer.bos_token_id)]
    )
    streams = read(texts=["The pump is checked."])
    assert text_of(tokenizer, streams.text[0]) == ("<|user|>", "The pump is checked.")
    assert streams.text[0].trained == len(streams.text[0].completion)
    assert list(streams.gold[0].given).count(tokenizer.bos_token_id) == 1  # there the template writes it


def test_a_long_text_is_cut_into_even_pieces(read, tokenizer):
    """None is lost, and none is a scrap."""
    words = " ".join(f"word{n}" for n in range(100))
    pieces = read(texts=[words], max_length=64).text
    assert "".join(text_of(tokenizer, piece)[1] for piece in pieces) == words
    assert max(piece.length for piece in pieces) <= 64
    assert max(piece.length for piece in pieces) - min(piece.length for piece in pieces) <= 1
    assert len({piece.fact for piece in pieces}) == len(pieces)


def test_replay_takes_pairs_conversations_and_texts(read, tokenizer):
    """Of a conversation, the last turn is trained; rows keep their own system prompt, or none, and never get the expert's."""
    tokenizer.chat_template = TURNS
    messages = [
        {"role": "system", "content": "Old."}, {"role": "user", "content": "A?"}, {"role": "assistant", "content": "B."},
        {"role": "user", "content": "C?"}, {"role": "assistant", "content": "D."},
    ]  # fmt: skip
    replay = [row("Who?", "Me."), {"messages": messages}, {"messages": messages[:2]}, {"text": "Once upon a time."}]
    streams = read(replay=replay, system="New.")
    assert [text_of(tokenizer, got) for got in streams.replay] == [
        ("<|user|>Who?<|user|>", "Me.<|end|>"),
        ("<|user|>Old.<|user|>A?<|user|>B.<|end|>\n<|user|>C?<|user|>", "D.<|end|>"),
        ("", "Once upon a time."),
    ]
    assert {got.stream for got in streams.replay} == {"replay"}


# -- before the first step ---------------------------------------------------------------------------------------------


def test_an_example_of_each_stream_is_shown(recipes, read, tokenizer, capsys):
    """With the tokens that are trained between marks, and nothing else between them."""
    streams = read([row("Why?", "So.")], texts=["The pump is checked. " * 400])
    capsys.readouterr()
    told = []
    recipes["rows"].show_examples(streams, tokenizer, say=told.append)
    assert len(told) == 1  # who waits sees what is trained, once
    said = told[0] + capsys.readouterr().out
    assert "an example (gold); the loss is taken on the 4 tokens between the marks:" in said
    assert "### Question:\nWhy?\n\n### Answer:\n>>>So.<|end|><<<" in said
    assert "an example (text)" in said
    assert len(said) < 3000


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (
            CHAT_TEMPLATE.replace("message['content']", "message['content'] | upper"),
            "changes the text.*'Why\\?' is not",
        ),
        (
            "{% for m in messages %}{{ m.content if m.role == 'user' else m.content | upper }}<|end|>{% endfor %}",
            "changes the text.*the answer 'So.' is written as",
        ),
        ("{% for m in messages %}{{ m.content }}<end>{% endfor %}", "nothing would stop generation after an answer"),
    ],
)
def test_a_template_that_would_train_something_else_is_refused(read, tokenizer, template, words):
    """It changes the question or the answer, or ends an answer with what is ordinary text to the base."""
    tokenizer.chat_template = template
    with pytest.raises(SystemExit, match=f"(?s){words}"):
        read([row("Why?", "So.")])


def test_an_answer_without_an_end_is_refused(read, tokenizer):
    """A tokenizer that has no token for it, and a template that writes none: the expert would never stop."""
    tokenizer.eos_token = None
    tokenizer.chat_template = "{% for m in messages %}{{ m.content }}{% endfor %}"
    with pytest.raises(SystemExit, match="the tokenizer has no eos_token; set one in"):
        read([row("Why?", "So.")])


def test_replay_that_the_template_changes_is_left_out(read, tokenizer, capsys):
    """The base wrote it, and its user cannot correct it."""
    tokenizer.chat_template = CHAT_TEMPLATE.replace("message['content']", "message['content'] | replace('Hm', '')")
    streams = read([row("Why?", "So.")], replay=[row("Hm, who?", "Me."), row("Who?", "You.")])
    assert [got.question for got in streams.replay] == ["Who?"]
    assert "1 rows changed by the chat template" in capsys.readouterr().out


def test_what_is_lost_is_told_and_what_is_held_out_is_not(recipes, tokenizer, tmp_path):
    """A row that is too long would be missed by whoever waits for the training; one that validation asks is not."""
    write(tmp_path / "gold.jsonl", [row("Why?", "So."), row("Who?", "Me."), row("Long?", "very " * 200)])
    write(tmp_path / "asked.jsonl", [row("who", "Me.")])
    files = {"gold": str(tmp_path / "gold.jsonl"), "validation": str(tmp_path / "asked.jsonl")}
    told = []
    recipes["rows"].read_streams(settings_of(recipes, **files), tokenizer, say=told.append)
    assert told == []
    recipes["rows"].read_streams(settings_of(recipes, **files), tokenizer, 99, say=told.append)
    assert told == [f"left out of {files['gold']}: 1 rows asked in validation, 1 rows longer than 99 tokens"]


def test_a_golden_dataset_reads_as_the_package_writes_it(recipes, tokenizer, tmp_path):
    """Item and fact of every record reach its row, by which wordings are kept apart."""
    records = [*gold(), GoldRecord(instruction="Alone?", output="Yes.")]
    write_jsonl(tmp_path / "gold.jsonl", records)
    streams = recipes["rows"].read_streams(settings_of(recipes, gold=str(tmp_path / "gold.jsonl")), tokenizer)
    assert [(got.item, got.fact) for got in streams.gold[:-1]] == [(record.item, record.fact) for record in gold()]
    assert len({got.fact for got in streams.gold}) == 9

"""What a base writes before it is trained: turns by its own template, or plain text; bounded, counted, the same again."""

import contextlib
import json
import re

import pytest

LETTERS = "abcdefghijklmnopqrstuvwxyz?.:[]/#INSTUAnswerQ\u0120\u010a"

SYSTEM_BY_DEFAULT = (
    "{% if messages[0]['role'] == 'system' %}{{ '<|turn|>system\n' + messages[0]['content'] + '<|over|>\n' }}"
    "{% else %}{{ '<|turn|>system\nbe good.<|over|>\n' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ '<|turn|>' + message['role'] + '\n' + message['content'] + '<|over|>\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|turn|>assistant\n' }}{% endif %}"
)
"""A system prompt is written where none is given; one token ends every turn, and another one a text."""

BEGINS = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|head|>' + message['role'] + '<|tail|>\n\n' + message['content'] | trim + '<|over|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|tail|>\n\n' }}{% endif %}"
)
"""The template writes the token that begins a text."""

NO_SYSTEM = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('there is no system role') }}{% endif %}{% endfor %}"
)
"""No system role, and plain letters around the user's words."""


def base(
    folder,
    *,
    template=None,
    bos=None,
    eos=None,
    specials=(),
    closing=None,
    letters=LETTERS,
    seed=0,
    window=256,
    ending=1.5,
    control=30.0,
):
    """A tiny base with random weights that writes letters, seldom a control token, and often enough the one that ends."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, PhiConfig, PhiForCausalLM, PreTrainedTokenizerFast

    names = dict.fromkeys([name for name in (bos, eos, *specials) if name] + list(letters))
    model = Tokenizer(models.BPE(vocab={name: place for place, name in enumerate(names)}, merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=model,
        bos_token=bos,
        eos_token=eos,
        additional_special_tokens=[name for name in specials if name not in (bos, eos)],
        chat_template=template,
    )
    torch.manual_seed(seed)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = PhiConfig(
        vocab_size=len(tokenizer),
        initializer_range=0.25,
        max_position_embeddings=window,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **size,
    )
    phi = PhiForCausalLM(config)
    with torch.no_grad():  # of the common architectures, this one has a bias on its logits
        for name in (bos, *specials):
            if name and name != eos:
                phi.lm_head.bias[tokenizer.convert_tokens_to_ids(name)] = -control
        for name in (eos, closing):
            if name:
                phi.lm_head.bias[tokenizer.convert_tokens_to_ids(name)] = ending
    phi.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    phi.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory, recipes):
    """Bases by the kind of their template."""
    folder = tmp_path_factory.mktemp("bases")
    return {
        "system by default": base(
            folder / "system",
            template=SYSTEM_BY_DEFAULT,
            eos="<|text|>",  # it ends texts, and another token turns, as in bases that are not tuned to answer
            specials=("<|turn|>", "<|over|>"),
            closing="<|over|>",
        ),
        "begins": base(
            folder / "begins",
            template=BEGINS,
            bos="<|begin|>",
            eos="<|over|>",
            specials=("<|head|>", "<|tail|>", "<|over|>"),
        ),
        "no system": base(folder / "none", template=NO_SYSTEM, bos="<s>", eos="</s>"),
        "no system, in tokens": base(
            folder / "tokens",
            template=NO_SYSTEM,
            bos="<s>",
            eos="</s>",
            specials=("[INST]", "[/INST]"),
            closing="[/INST]",
        ),
        "plain": base(folder / "plain", eos="<|text|>"),
    }


@pytest.fixture
def write(recipes, tmp_path):
    """Run the stage in a folder of its own; its rows and its done.json."""

    def run(path, **settings):
        stage = tmp_path / "stages" / "replay"
        stage.mkdir(parents=True, exist_ok=True)
        job = {
            "base": str(path),
            "rows": 6,
            "max_new_tokens": 40,
            "attempts": 20.0,
            "batch_size": 16,
            "seed": 1,
            **settings,
        }
        (stage / "job.json").write_text(json.dumps(job))
        (stage / "done.json").unlink(missing_ok=True)
        with contextlib.chdir(tmp_path):
            recipes["replay"].main("stages/replay/job.json")
        rows = [json.loads(line) for line in (stage / "replay.jsonl").read_text("utf-8").splitlines()]
        return rows, json.loads((stage / "done.json").read_bytes())

    return run


# -- turns -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "opening", "closing", "ending"),
    [
        ("system by default", "<|turn|>system\nbe good.<|over|>\n<|turn|>user\n", "<|over|>", "<|over|>"),
        ("begins", "<|begin|><|head|>user<|tail|>\n\n", "<|over|>", "<|over|>"),
        ("no system", "<s>[INST]", "[/INST]", "</s>"),
        ("no system, in tokens", "<s>[INST]", "[/INST]", "</s>"),
    ],
)
def test_the_users_turn_is_opened_as_the_template_does(recipes, bases, kind, opening, closing, ending):
    """With its own system prompt, its token that begins a text, and without a space that belongs to the first word."""
    tokenizer = recipes["adapters"].load_tokenizer(bases[kind], None, None)
    assert recipes["replay"].turns_of(tokenizer) == (opening, closing, ending)


@pytest.mark.parametrize("kind", ["system by default", "begins", "no system, in tokens"])
def test_a_base_with_a_template_writes_both_turns(bases, write, kind):
    """Rows have the form of the golden dataset; nothing of the template is in them."""
    rows, done = write(bases[kind])
    assert [sorted(row) for row in rows] == [["input", "instruction", "output"]] * 6
    assert all(row["instruction"] and row["output"] and not row["input"] for row in rows)
    assert [row for row in rows if re.search(r"<\||INST\]|</?s>", row["instruction"] + row["output"])] == []
    assert len({row["instruction"] for row in rows}) == 6
    assert (done["form"], done["rows"], done["wanted"]) == ("chat", 6, 6)
    assert done["attempts"] >= 6 + sum(done["dropped"].values()) - 1


def test_answers_are_the_bases_own_to_the_instruction(recipes, bases, write):
    """What greedy decoding gives after the template's prompt, as the base is asked anywhere else."""
    rows, _ = write(bases["begins"])
    settings = recipes["answer"].Settings(base=str(bases["begins"]), max_new_tokens=40)
    questions = [{"id": n, "question": row["instruction"]} for n, row in enumerate(rows)]
    answers = {each["id"]: each["text"] for each in recipes["answer"].Answerer(settings).answer(questions)}
    assert [row["output"] for row in rows] == [answers[n] for n in range(6)]


def test_plain_letters_may_end_a_turn(recipes, bases):
    """Where the template writes the end of the user's turn in plain letters, the instruction stops before them."""
    writer = recipes["replay"].Writer(recipes["replay"].Settings(base=str(bases["no system"]), rows=1))
    tokens = writer.encode("is it so? [/INST] no")
    assert writer._written(tokens, set(writer.ends), "[/INST]") == (tokens, "is it so? ", True)


def test_a_template_without_a_turns_end_gives_text(recipes, tmp_path, write):
    """Nobody can tell where such an instruction ends; what is trained then is free text."""
    path = base(tmp_path / "base", template="{{ bos_token }}{{ messages[0]['content'] }}", bos="<s>", eos="</s>")
    rows, done = write(path)
    assert [list(row) for row in rows] == [["text"]] * 6
    assert done["form"] == "text"
    with pytest.raises(SystemExit, match="no chat template that shows where a user's turn ends"):
        write(path, form="chat")


def test_a_base_that_writes_no_turns_goes_on_with_text(tmp_path, write, capsys, monkeypatch, recipes):
    """Its template is there but it was never trained on it, so that it never ends a turn."""
    monkeypatch.setattr(recipes["replay"], "PATIENCE", 32)
    specials = ("<|head|>", "<|tail|>", "<|over|>")
    path = base(tmp_path / "base", template=BEGINS, bos="<|begin|>", specials=specials)
    rows, done = write(path, max_new_tokens=12)
    assert [list(row) for row in rows] == [["text"]] * 6
    assert done["form"] == "text"
    assert "the base writes no turns of its own (0 of 32 samples taken; left out: 32 cut)" in capsys.readouterr().out


# -- text --------------------------------------------------------------------------------------------------------------


def test_a_plain_base_goes_on_from_nothing(bases, write):
    """Free text from the token that begins or ends one; a template of ours is not put on it."""
    rows, done = write(bases["plain"], default_chat_template=SYSTEM_BY_DEFAULT)
    assert [list(row) for row in rows] == [["text"]] * 6
    assert [row for row in rows if not row["text"].strip() or "<|" in row["text"]] == []
    assert done["form"] == "text"


def test_a_cut_text_ends_with_a_whole_word(recipes):
    """A window of a longer text is a row; half a word at its end is not."""
    replay = recipes["replay"]
    cut = replay.Written(tokens=[1, 2], text="every two ho", ended=False)
    assert replay.whole_words(cut) == "every two"
    assert replay.whole_words(cut._replace(ended=True)) == "every two ho"
    assert replay.whole_words(cut._replace(text="每两小时\ufffd")) == "每两小时"


# -- the same again, bounded, counted ----------------------------------------------------------------------------------


def test_fewer_samples_are_enough_where_they_are_long(bases, write):
    """It stops with the sample that fills up the tokens that are wanted."""
    rows, _ = write(bases["plain"])
    fewer, done = write(bases["plain"], tokens=1)
    assert (fewer, done["wanted"]) == (rows[:1], 6)


def test_the_same_job_writes_the_same_rows_and_another_seed_others(bases, write):
    """Samples are a function of the settings."""
    first, _ = write(bases["system by default"])
    again, _ = write(bases["system by default"])
    other, _ = write(bases["system by default"], seed=2)
    assert first == again
    assert first != other


def test_attempts_are_bounded_and_the_file_is_smaller(tmp_path, write, capsys):
    """A base that writes one of a few texts gives each once."""
    path = base(tmp_path / "base", eos="<|text|>", letters="ab")
    rows, done = write(path, rows=40, max_new_tokens=2, attempts=2.0, batch_size=16)
    assert 0 < len(rows) < 40
    assert done["attempts"] == 80
    assert done["attempts"] == len(rows) + sum(done["dropped"].values())
    assert "40 were wanted; the base writes no more" in capsys.readouterr().out


def test_a_base_that_writes_nothing_is_an_error(tmp_path, write):
    """It says what it wrote instead, and what to do; done.json is not written."""
    path = base(tmp_path / "base", eos="<|text|>", letters=".?:#")
    with pytest.raises(SystemExit, match=r"writes no usable samples \(0 of 128 .* empty.*replay=False"):
        write(path, rows=500)
    assert not (tmp_path / "stages" / "replay" / "done.json").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"rows": 0}, "rows is 0: give 1 or more"),
        ({"temperature": 0}, "temperature is 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_settings_that_cannot_be_are_named(recipes, bases, write, wrong, words):
    """Before anything is loaded."""
    with pytest.raises(SystemExit, match=words):
        write("nowhere", **wrong)


def test_out_of_memory_halves_what_is_written_at_once(recipes, bases, write, monkeypatch, capsys):
    """And goes on until one sample at a time is too much."""
    replay = recipes["replay"]
    import torch

    honest, room = replay.Writer.write, 3

    def narrow(self, prompts, **more):
        if len(prompts) > room:
            raise torch.OutOfMemoryError("no room")
        return honest(self, prompts, **more)

    monkeypatch.setattr(replay.Writer, "write", narrow)
    rows, done = write(bases["plain"], batch_size=4)
    assert (len(rows), done["batch_size"]) == (6, 2)
    assert "out of memory with 4 samples at once; going on with 2" in capsys.readouterr().out
    room = 0
    with pytest.raises(SystemExit, match="out of memory with one sample at a time"):
        write(bases["plain"], batch_size=2)


def test_progress_is_told(bases, write, tmp_path):
    """How many of how many, after every batch."""
    write(bases["plain"], batch_size=4)
    lines = (tmp_path / "stages" / "replay" / "progress.jsonl").read_text().splitlines()
    told = [json.loads(line) for line in lines]
    assert (told[-1]["done"], {line["total"] for line in told}) == (6, {6})


# -- what is left out --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tokens", "verdict"),
    [
        (" is it? ", [1, 2, 3], "is it?"),
        (" ?! ", [1, 2], ("empty",)),
        ("a\ufffdb", [1, 2], ("broken characters",)),
        ("so <|turn|> be it", [1, 2], ("control tokens",)),
        ("abab", [1, 2] * 12, ("loops",)),
    ],
)
def test_what_is_not_sound_is_left_out(recipes, bases, text, tokens, verdict):
    """By class, so that it can be counted."""
    replay = recipes["replay"]
    writer = replay.Writer(replay.Settings(base=str(bases["system by default"]), rows=1))
    assert writer.sound(replay.Written(tokens, text, ended=True)) == verdict
    assert writer.closed(replay.Written(tokens, text, ended=False)) == ("cut",)


@pytest.mark.parametrize(
    ("tokens", "loop"),
    [
        ([7] * 17, True),
        ([7] * 12, False),
        ([1, 2, 3, 4, 5] * 5, True),
        ([1, 2, 3, 4, 5] * 3, False),
        (list(range(200)), False),
        ([*range(30), *[9, 8] * 20, *range(30)], True),
        ([*range(32)] * 4, True),
    ],
)
def test_loops_are_pieces_repeated_over_and_over(recipes, tokens, loop):
    """Also in the midst of a text."""
    assert recipes["replay"].loops(tokens) == loop

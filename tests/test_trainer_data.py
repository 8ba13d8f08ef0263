"""What a trainer writes beside the dataset: the text, wordings for validation, replay, refusals; and for LLaMA-Factory."""

import json
from collections import Counter

import attrs
import pytest
from deck import exam, gold, job_of, text
from hypothesis import given
from hypothesis import strategies as st
from tiny import tokenizer_of

from text2expert.errors import InputError, RecordError
from text2expert.records import Chunk, ExamQuestion, GoldRecord, read_jsonl, write_jsonl
from text2expert.runners.local import Local
from text2expert.trainer import CHAT_TEMPLATE, Trainer, materials

REAL = "some/model-1B"


def many(facts, wordings=4):
    """So many facts, each in so many wordings."""
    return [
        GoldRecord(
            instruction=f"Wording {w}: what is the limit of valve {n}?", output=f"{n} bar", item=str(n), fact=str(n)
        )
        for n in range(facts)
        for w in range(wordings)
    ]


def chunk(number, text, context=""):
    return Chunk(
        id=f"chunk_{number:06d}", key=f"key{number}", document="deck", text=text, start=0, end=len(text),
        char_count=len(text), context=context,
    )  # fmt: skip


@pytest.fixture
def run_folder(tmp_path):
    """A run folder with two passages, one of them restated, and a dataset."""
    folder = tmp_path / "a run"
    (folder / "source").mkdir(parents=True)
    write_jsonl(folder / "golden_dataset.jsonl", many(40))
    passages = [
        chunk(1, "1 PUMPS\n\nThe pump stops at 2 bar.", "1 PUMPS"),
        chunk(2, "Stop it.", "1 PUMPS > If it leaks:"),
    ]
    write_jsonl(folder / "chunks.jsonl", passages)
    rewrites = [
        {"chunk": "chunk_000002", "key": "key2", "text": "A leaking pump is stopped.", "model": "m"},
        {"chunk": "chunk_000009", "key": "of another text", "text": "Half a pair: \ud800.", "model": "m"},
        {"chunk": "chunk_000009", "key": "of another text", "text": "  ", "model": "m"},
    ]
    (folder / "rewrites.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rewrites))
    (folder / "source" / "pumps.txt").write_text("1 PUMPS\n\nThe pump stops at 2 bar.")
    return folder


def rows_of(folder, settings):
    return [json.loads(line)["text"] for line in (folder / settings["texts"][0]).read_text("utf-8").splitlines()]


# The text


def test_passages_and_rewrites_stand_under_their_headings(tmp_path, run_folder):
    """Once each; headings that a passage begins with are not said twice; half a surrogate pair does no harm."""
    texts = [run_folder / "rewrites.jsonl", run_folder / "chunks.jsonl"]
    _, settings = job_of(tmp_path / "job", many(40), texts=texts, model=REAL)
    assert rows_of(tmp_path / "job", settings["train"]) == [
        "1 PUMPS\n\nThe pump stops at 2 bar.",
        "1 PUMPS > If it leaks:\n\nStop it.",
        "1 PUMPS > If it leaks:\n\nA leaking pump is stopped.",
        "Half a pair: ?.",
    ]
    assert settings["train"]["text_share"] == 0.2


def test_passages_of_several_documents_are_told_apart(tmp_path):
    """Headings such as "1. PURPOSE" are those of many."""
    passages = [
        Chunk(id="", key=name, document=name, text="It is for all.", start=0, end=1, char_count=1, context=context)
        for name, context in (("fire_safety", "1. PURPOSE"), ("hygiene", "1. PURPOSE"), ("notes", ""))
    ]
    write_jsonl(tmp_path / "chunks.jsonl", passages)
    assert materials.text_rows([tmp_path / "chunks.jsonl"]) == [
        "fire safety > 1. PURPOSE\n\nIt is for all.", "hygiene > 1. PURPOSE\n\nIt is for all.", "notes\n\nIt is for all.",
    ]  # fmt: skip


def test_a_run_folder_stands_for_its_text(tmp_path, run_folder):
    """Passages and rewrites for a base of its own weights, the whole text for the toy."""
    _, real = job_of(tmp_path / "real", many(40), texts=[run_folder], model=REAL)
    assert len(rows_of(tmp_path / "real", real["train"])) == 4
    _, toy = job_of(tmp_path / "toy", texts=[run_folder])
    assert toy["base"]["texts"] == ["stages/inputs/0_pumps.txt"]
    with pytest.raises(InputError, match="stages holds no text"):
        Trainer(REAL).plan(gold(), texts=[tmp_path / "toy" / "stages"])


def test_a_dataset_in_its_run_folder_brings_its_text(run_folder, tmp_path, capsys):
    """Moved elsewhere it has none, and that is said."""
    trainer = Trainer(REAL)
    here = trainer.job(run_folder, run_folder / "golden_dataset.jsonl")
    assert "stages/inputs/text.jsonl" in here.stages[-1].inputs
    capsys.readouterr()
    _, settings = job_of(tmp_path / "elsewhere", many(40), model=REAL)
    assert "texts" not in settings["train"]
    assert "text_share" not in settings["train"]
    assert "The text itself is not trained, since it is not there" in capsys.readouterr().err


def test_a_plain_text_is_cut_as_in_a_run(tmp_path):
    """Long ones become rows that fit, each under its heading; blank ones none."""
    source = tmp_path / "long.txt"
    source.write_text("1. CARE\n\n" + "\n\n".join(f"The {n}th pump is greased every {n} days." for n in range(2, 90)))
    blank = tmp_path / "blank.txt"
    blank.write_text(" \n")
    rows = materials.text_rows([source, blank])
    assert len(rows) > 3
    assert max(map(len, rows)) < 900
    assert all(row.startswith("1. CARE") for row in rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", '{"text": "a"}\n{"words": "b"}\n', r'rows.jsonl, line 2: no "text"'),
        ("rows.jsonl", "{", "rows.jsonl, line 1: not valid JSON"),
        ("chunks.jsonl", '{"text": "a"}\n', "chunks.jsonl, line 1: not a Chunk"),
    ],
)
def test_a_damaged_text_names_its_line(tmp_path, name, content, message):
    """As every JSONL file of ours."""
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(RecordError, match=message):
        materials.text_rows([path])


def test_a_text_that_is_gone_is_named(tmp_path):
    """Before anything is written."""
    with pytest.raises(InputError, match=r"cannot read .*gone.txt"):
        Trainer(REAL).train(gold(), texts=[tmp_path / "gone.txt"], folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_toy_has_read_the_text_already(tmp_path):
    """Its training is the dataset alone, unless somebody asks for more."""
    source = tmp_path / "deck.txt"
    source.write_text(text())
    _, plain = job_of(tmp_path / "plain", texts=[source])
    assert not {"texts", "replay", "refusals", "validation"} & set(plain["train"])
    _, asked = job_of(tmp_path / "asked", texts=[source], text_share=0.3)
    assert rows_of(tmp_path / "asked", asked["train"]) == [text()]


# Validation


def test_validation_has_wordings_of_its_own(tmp_path):
    """One each of items that keep two and more, none of the exam's, the same ones in any order."""
    records = many(150)
    questions = [
        ExamQuestion(id=str(n), row="taught", question=f"wording 0 - What is the limit of valve {n}", answer=f"{n} bar")
        for n in range(150)
    ]
    _, settings = job_of(tmp_path / "run", records, questions=questions, model=REAL)
    kept = list(read_jsonl(tmp_path / "run" / settings["train"]["validation"], GoldRecord))
    assert len(kept) == len({record.item for record in kept}) == 60
    assert set(kept) <= set(records)
    assert not [record for record in kept if record.instruction.startswith("Wording 0")]
    _, again = job_of(tmp_path / "again", records[::-1], questions=questions, model=REAL)
    assert set(read_jsonl(tmp_path / "again" / again["train"]["validation"], GoldRecord)) == set(kept)
    _, other = job_of(tmp_path / "other", records, questions=questions, model=REAL, seed=1)
    assert set(read_jsonl(tmp_path / "other" / other["train"]["validation"], GoldRecord)) != set(kept)


@pytest.mark.parametrize(
    ("records", "validation", "count"),
    [
        (many(30), 25, 25),
        (many(30), 100, 30),
        (many(30), None, 20),
        (many(150), None, 60),
        (many(300), None, 100),
        (many(19), None, 0),
        (many(30, wordings=2), None, 0),
        (many(30), 0, 0),
        ([GoldRecord(instruction=f"Question {n}?", output="Yes.") for n in range(90)], None, 0),
    ],
    ids=[
        "limited",
        "all",
        "a small dataset's",
        "a tenth",
        "default",
        "too few",
        "too few wordings",
        "unwanted",
        "without items",
    ],
)
def test_with_too_few_there_is_none_and_it_is_said(tmp_path, capsys, records, validation, count):
    """A handful of questions would stop a training by chance."""
    _, settings = job_of(tmp_path / "run", records, model=REAL, validation=validation)
    path = settings["train"].get("validation")
    assert count == (len(list(read_jsonl(tmp_path / "run" / path, GoldRecord))) if path else 0)
    said = "No validation during training, and no early stop" in capsys.readouterr().err
    assert said == (count == 0 and validation != 0)


_WORDS = st.sampled_from(["Is it?", "is it", "Why?", "How so?", "When", "Where?", "Which one?", "x < 5?", "x > 5?"])


@given(st.lists(st.tuples(_WORDS, st.sampled_from("abcde"), st.sampled_from(["", "so"])), max_size=60), st.sets(_WORDS))
def test_what_validation_asks_is_nobody_elses(pairs, asked):
    """No wording of it is another item's or the exam's, in any case and punctuation; its item keeps two."""
    records = [
        GoldRecord(instruction=words, input=more, output="Yes.", item=f"{item}{n}")
        for n in range(20)
        for words, item, more in ((f"{words} {item}{n}", item, more) for words, item, more in pairs)
    ]
    questions = [f"{words} a{n}" for words in asked for n in range(20)]
    kept = materials.validation_of(records, questions, most=100, seed=0)

    def plain(record):
        return "".join(filter(str.isalnum, (record.instruction + record.input).casefold()))

    wanted = {plain(record) for record in kept}
    assert not wanted & {"".join(filter(str.isalnum, question.casefold())) for question in questions}
    left = [record for record in records if plain(record) not in wanted]
    wordings = Counter(item for item, _ in {(record.item, plain(record)) for record in left})
    assert all(wordings[record.item] >= 2 for record in kept)
    assert all(record.item in {each.item for each in kept} for record in records if plain(record) in wanted)
    assert len(kept) == 0 or 20 <= len(kept) <= 100


# Replay


def test_the_base_writes_its_replay_before_it_is_trained(tmp_path):
    """In a stage of its own, whose key is part of the training's."""
    job, settings = job_of(tmp_path / "run", many(40), questions=exam(), model=REAL, revision="v1", precision="bf16")
    assert [(stage.name, stage.argv[0]) for stage in job.stages] == [
        ("before", "answer.py"), ("replay", "replay.py"), ("train", "lora.py"), ("after", "answer.py"),
    ]  # fmt: skip
    replay = settings["replay"]
    assert (replay["base"], replay["revision"], replay["precision"]) == (REAL, "v1", "bf16")
    assert job.stages[1].outputs == (replay["output"],) == (settings["train"]["replay"],)
    assert replay["output"] in job.stages[2].inputs
    assert settings["train"]["replay_share"] == 0.25
    _, changed = job_of(tmp_path / "changed", many(40), questions=exam(), model=REAL, revision="v1", seed=1)
    assert changed["train"]["inputs"][replay["output"]] != settings["train"]["inputs"][replay["output"]]
    for name in ("before", "replay", "train", "after"):
        assert (settings[name]["revision"], settings[name]["precision"]) == ("v1", "bf16")


def test_a_tiny_base_writes_nothing_unless_it_is_asked_to(tmp_path):
    """It has no words of its own yet."""
    made = [
        [stage.name for stage in job_of(tmp_path / "run", many(40), model="some/model-14M", **asked)[0].stages]
        for asked in ({}, {"replay": "self"}, {"replay_share": 0.1})
    ]
    assert made == [["train"], ["replay", "train"], ["replay", "train"]]


def test_longer_trainings_want_more_samples(tmp_path):
    """As many tokens as are trained, so that none comes twice, in at most two thousand samples."""
    replays = [job_of(tmp_path / str(facts), many(facts), model=REAL)[1]["replay"] for facts in (40, 400, 4000)]
    tokens = [replay["tokens"] for replay in replays]
    assert tokens[0] == 10_000 < tokens[1] < tokens[2]
    assert [replay["rows"] for replay in replays] == [2000] * 3


def test_a_file_is_replayed_as_it_is(tmp_path):
    """Carried along with the job; without a stage before."""
    path = tmp_path / "general.jsonl"
    path.write_text('{"text": "The sun rises in the east."}\n')
    job, settings = job_of(tmp_path / "run", many(40), model=REAL, replay=path, replay_share=0.3)
    assert [stage.name for stage in job.stages] == ["train"]
    assert settings["train"]["replay"] == "stages/inputs/replay_general.jsonl"
    assert settings["train"]["replay_share"] == 0.3
    assert (tmp_path / "run" / "stages/inputs/replay_general.jsonl").read_bytes() == path.read_bytes()
    _, without = job_of(tmp_path / "without", many(40), model=REAL, replay=False)
    assert not {"replay", "replay_share"} & set(without["train"])


def test_files_of_one_name_stay_two(tmp_path):
    """A replay that is called as the dataset is, or as a file of ours, does not take its place."""
    source = tmp_path / "deck.txt"
    source.write_text(text())
    for name in ("gold", "text", "validation", "refusals"):
        folders = [tmp_path / name / which for which in ("mine", "general", "run")]
        for folder in folders:
            folder.mkdir(parents=True)
        mine, general, run = folders[0] / f"{name}.jsonl", folders[1] / f"{name}.jsonl", folders[2]
        write_jsonl(mine, many(40))
        general.write_text('{"text": "The sun rises in the east."}\n')
        Trainer(REAL, replay=general, validation=20).job(run, mine, [source])
        settings = json.loads((run / "stages/train/job.json").read_bytes())
        assert (run / settings["gold"]).read_bytes() == mine.read_bytes()
        assert (run / settings["replay"]).read_bytes() == general.read_bytes()
        assert rows_of(run, settings) == [text()]
        assert len(list(read_jsonl(run / settings["validation"], GoldRecord))) == 20


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "holds no row to replay"),
        ("{", r"general.jsonl, line 2: not valid JSON"),
        ('{"question": "Why?"}', r"line 2: it has question; a row to replay is"),
        ('{"instruction": "Why?", "output": null}', "line 2: it has instruction, output; a row to replay is"),
        ('{"messages": [{"from": "human", "value": "Why?"}]}', r"line 2: it has messages; .* of role and content"),
        ('{"text": 5}', "line 2: it has text; a row to replay is"),
    ],
)
def test_a_replay_that_cannot_be_is_named_before_anything_costs(tmp_path, line, words):
    """The file and the line."""
    path = tmp_path / "general.jsonl"
    first = '{"text": "The sun rises."}' if line else ""
    path.write_text(f"{first}\n{line}\n")
    with pytest.raises(InputError, match=words):
        Trainer(REAL, replay=path).check()
    with pytest.raises(InputError, match=words):
        job_of(tmp_path / "run", many(40), model=REAL, replay=path)


def test_refusals_that_cannot_be_are_named_before_anything_costs(tmp_path):
    """As replay is."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": " "}\n')
    with pytest.raises(RecordError, match=r"mine.jsonl, line 1: 'instruction' is blank"):
        Trainer(REAL, refusals=path).check()


# Refusals


def test_refusals_are_made_from_dataset_and_text(tmp_path):
    """Near misses, each with its answerable twin, none of which is asked by the exam."""
    records = [
        GoldRecord(
            instruction=f"How often is the {thing} checked?", output=f"The {thing} is checked every {n + 2} hours.",
            item=thing, fact=thing,
        )
        for n, thing in enumerate(("bilge pump", "main anchor", "stern line", "fire door", "life raft", "deck crane") * 9)
    ]  # fmt: skip
    source = tmp_path / "deck.txt"
    source.write_text(text())
    _, settings = job_of(tmp_path / "run", records, texts=[source], model=REAL, refusals=0.1)
    made = [json.loads(line) for line in (tmp_path / "run" / settings["train"]["refusals"]).read_text().splitlines()]
    assert settings["train"]["refusals_share"] == 0.1
    assert len(made) > 5
    assert {refusal["twin"] for refusal in made} <= {record.item for record in records}


def test_without_the_text_nobody_knows_what_it_does_not_say(tmp_path, capsys):
    """So nothing is refused, and it is said."""
    _, settings = job_of(tmp_path / "run", many(40), model=REAL, refusals=0.1)
    assert not {"refusals", "refusals_share"} & set(settings["train"])
    assert "No refusals are trained" in capsys.readouterr().err


def test_refusals_of_ones_own_are_completed(tmp_path):
    """A question is enough: the refusal is drawn, the twin found."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": "How often is the flag checked?"}\n')
    _, settings = job_of(tmp_path / "run", gold(), model=REAL, refusals=path)
    (made,) = map(json.loads, (tmp_path / "run" / settings["train"]["refusals"]).read_text().splitlines())
    assert made["instruction"] == "How often is the flag checked?"
    assert made["output"]
    assert made["twin"] in {record.item for record in gold()}
    assert settings["train"]["refusals_share"] == 0.05


def test_refusals_beside_a_dataset_without_items_are_trained(recipes, tmp_path, monkeypatch):
    """{"instruction", "output"} is all that a row needs: none of its refusals is left out for want of a twin."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": "How often is the flag checked?"}\n')
    records = [attrs.evolve(record, item="", fact="") for record in gold()]
    _, settings = job_of(tmp_path / "run", records, model=REAL, refusals=path, replay=False)
    monkeypatch.chdir(tmp_path / "run")
    tokenizer = tokenizer_of(recipes)
    tokenizer.chat_template = CHAT_TEMPLATE
    streams = recipes["rows"].read_streams(recipes["settings"].Settings(**settings["train"]), tokenizer)
    assert [row.question for row in streams.refusal] == ["How often is the flag checked?"]


# LLaMA-Factory


def test_its_command_is_not_passed_over_where_something_else_trains():
    """As an argument that nobody reads would be."""
    with pytest.raises(
        InputError, match="llamafactory='lf-cli' is the command that backend='llamafactory' trains with"
    ):
        Trainer(REAL, llamafactory="lf-cli")


def test_llamafactory_starts_its_own_processes():
    """So that ours are refused, and not passed over."""
    with pytest.raises(InputError, match="processes=2: LLaMA-Factory starts its own"):
        Trainer(REAL, backend="llamafactory", runner=Local(processes=2))


def test_llamafactory_trains_an_export_of_the_dataset(tmp_path, capsys):
    """Its stage takes the place of ours, the exam stays; what it cannot do is said."""
    job, settings = job_of(
        tmp_path / "run", many(40), questions=exam(), model="Qwen/Qwen2.5-1.5B-Instruct", backend="llamafactory",
        llamafactory="/opt/lf/bin/llamafactory-cli", epochs=2, r=8,
    )  # fmt: skip
    assert [stage.argv[0] for stage in job.stages] == ["answer.py", "llamafactory.py", "answer.py"]
    train = settings["train"]
    assert (train["cli"], train["base"]) == ("/opt/lf/bin/llamafactory-cli", "Qwen/Qwen2.5-1.5B-Instruct")
    exported = tmp_path / "run" / train["dataset_dir"]
    assert len((exported / train["rows"]).read_text().splitlines()) == 160
    configuration = (exported / train["config"]).read_text()
    assert "num_train_epochs: 2" in configuration
    assert "lora_rank: 8" in configuration
    assert {f"{train['dataset_dir']}/{name}" for name in (train["config"], train["rows"])} < set(job.stages[1].inputs)
    assert "LLaMA-Factory trains the golden dataset alone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value"),
    [("text_share", 0.2), ("replay", "self"), ("refusals", 0.1), ("validation", 50), ("packing", True)],
)
def test_llamafactory_is_asked_for_nothing_that_it_does_not_do(name, value):
    """Rather than that it is left out unseen."""
    with pytest.raises(InputError, match=f"{name}={value!r} is nothing that LLaMA-Factory does"):
        Trainer(REAL, backend="llamafactory", **{name: value})


def test_a_command_that_is_not_there_is_missed_before_anything_is_taught(tmp_path, monkeypatch):
    """With how to install it."""
    with pytest.raises(InputError, match=r"no command '.*gone': install LLaMA-Factory .*--llamafactory"):
        Trainer(REAL, backend="llamafactory", llamafactory=tmp_path / "gone").check()
    command = tmp_path / "llamafactory-cli"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    Trainer(REAL, backend="llamafactory", llamafactory=command).check()
    monkeypatch.chdir(tmp_path)
    beside = Trainer(REAL, backend="llamafactory", llamafactory="./llamafactory-cli")
    beside.check()
    assert beside.llamafactory == str(command)  # stages run in another folder

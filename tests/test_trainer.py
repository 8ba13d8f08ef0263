"""Trainer without training: what it refuses, what it plans, and the job that it writes."""

import importlib.util
import json
import math
import os

import attrs
import pytest
from deck import exam, gold, job_of, text

import text2expert
from text2expert.errors import InputError, MissingExtraError, RecordError, RunFolderLockedError, RunnerError
from text2expert.files import locked
from text2expert.records import ExamPrompt, Job, to_line, write_jsonl
from text2expert.runners import remote
from text2expert.trainer import Trainer, arguments
from text2expert.trainer.profiles import REAL


class Recorder:
    """A runner that runs nothing and keeps the job."""

    job: Job | None = None

    async def run(self, job):
        self.job = job
        raise RunnerError("stopped here")


def test_a_job_can_be_carried(tmp_path):
    """Every path in it is relative to its folder, and what lay elsewhere was copied in."""
    source = tmp_path / "elsewhere" / "deck.txt"
    source.parent.mkdir()
    source.write_text(text())
    job, settings = job_of(tmp_path / "run", questions=exam(), texts=[source])
    assert [stage.name for stage in job.stages] == ["base", "before", "train", "after"]
    assert [stage.argv[0] for stage in job.stages] == ["scratch.py", "answer.py", "lora.py", "answer.py"]
    assert str(tmp_path) not in json.dumps(settings)
    for stage in job.stages:
        assert stage.argv[1] == f"stages/{stage.name}/job.json"
        for path in stage.inputs:
            assert (tmp_path / "run" / path).is_file()


def test_a_contestant_sees_ids_and_questions_and_no_answer(tmp_path):
    """Before and after training alike."""
    _, settings = job_of(tmp_path / "run", questions=exam()[:2])
    for stage in ("before", "after"):
        prompts = (tmp_path / "run" / settings[stage]["prompts"]).read_text(encoding="utf-8")
        assert [json.loads(line) for line in prompts.splitlines()] == [
            {"id": "q0", "question": "How often is the bilge pump checked?"},
            {"id": "q1", "question": "At what interval is the bilge pump inspected?"},
        ]
        assert settings[stage]["alone"] == 0


PROMPTS = (
    ExamPrompt(id="q0", question="Asked of the base", to="base", contestant="base"),
    ExamPrompt(id="rag:q0", question="Asked of the base with passages", to="base", contestant="base + RAG"),
    ExamPrompt(id="q0", question="Asked of the expert", to="expert", contestant="expert"),
)


def test_base_and_expert_are_asked_what_is_meant_for_them(tmp_path):
    """Prompts stand in for the exam's questions, and some of each contestant's are timed alone."""
    job, settings = job_of(tmp_path / "run", questions=exam()[:1], prompts=PROMPTS)
    asked = {
        stage: [json.loads(line) for line in (tmp_path / "run" / settings[stage]["prompts"]).read_text().splitlines()]
        for stage in ("before", "after")
    }
    assert asked == {
        "before": [
            {"id": "q0", "question": "Asked of the base", "contestant": "base"},
            {"id": "rag:q0", "question": "Asked of the base with passages", "contestant": "base + RAG"},
        ],
        "after": [{"id": "q0", "question": "Asked of the expert", "contestant": "expert"}],
    }
    assert settings["before"]["alone"] == settings["after"]["alone"] > 0
    assert [stage.name for stage in job.stages] == ["base", "before", "train", "after"]


def test_prompts_of_one_stage_are_no_matter_of_the_other(tmp_path):
    """Another passage for the base asks the base again, and not the expert."""
    _, one = job_of(tmp_path / "run", questions=exam()[:1], prompts=PROMPTS)
    changed = (attrs.evolve(PROMPTS[0], question="Asked otherwise"), *PROMPTS[1:])
    _, two = job_of(tmp_path / "run", questions=exam()[:1], prompts=changed)
    assert [name for name in one if one[name] != two[name]] == ["before"]
    job, _ = job_of(tmp_path / "run", questions=exam()[:1], prompts=PROMPTS[2:])
    assert [stage.name for stage in job.stages] == ["base", "train", "after"]


def test_without_questions_there_is_no_exam(tmp_path):
    """Training alone takes two stages."""
    job, _ = job_of(tmp_path / "run")
    assert [stage.name for stage in job.stages] == ["base", "train"]


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ({}, []),
        ({"seed": 1}, ["base", "before", "train", "after"]),
        ({"texts": "Another text."}, ["base", "before", "train", "after"]),
        ({"records": gold()[1:]}, ["base", "before", "train", "after"]),
        ({"questions": exam()[1:]}, ["before", "after"]),
        ({"epochs": 2}, ["train", "after"]),
        ({"system": "Be brief."}, ["before", "train", "after"]),
    ],
)
def test_a_change_makes_stale_what_depends_on_it(tmp_path, changed, stale):
    """The settings of a stage are a full key: they hold the digests of all that it reads."""

    def keys(changed):
        changed = dict(changed)
        source = tmp_path / "deck.txt"
        source.write_text(changed.pop("texts", text()))
        questions = changed.pop("questions", exam())
        job, _ = job_of(tmp_path / "run", changed.pop("records", None), questions=questions, texts=[source], **changed)
        return {s.name: (tmp_path / "run" / s.argv[1]).read_bytes() for s in job.stages}

    before = keys({})
    after = keys(changed)
    assert [name for name in before if before[name] != after[name]] == stale


def test_another_model_folder_is_another_key(tmp_path):
    """A model that was trained further under the same name trains again."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    _, one = job_of(tmp_path / "run", model=str(model))
    (model / "model.safetensors").write_text("weights")
    _, two = job_of(tmp_path / "run", model=str(model))
    assert one["train"]["base"] == two["train"]["base"] == "stages/inputs/base"
    assert one["train"]["inputs"] != two["train"]["inputs"]


def test_a_model_folder_comes_with_the_job(tmp_path):
    """Every stage finds it in the job's folder, and what carries jobs to other machines takes it along."""
    model = tmp_path / "model"
    (model / ".git").mkdir(parents=True)
    (model / ".git" / "config").write_text("a history")
    (model / "original").mkdir()
    (model / "original" / "consolidated.pth").write_text("another form of the weights")
    (model / "config.json").write_text('{"model_type": "llama"}')
    job, settings = job_of(tmp_path / "run", questions=exam()[:1], model=str(model), replay="self")
    assert ["before", "replay", "train", "after"] == [stage.name for stage in job.stages]
    assert {"stages/inputs/base"} == {settings[stage.name]["base"] for stage in job.stages}
    carried = remote.cargo(job, job.stages)
    assert [name for name in carried if name.startswith("stages/inputs/base/")] == ["stages/inputs/base/config.json"]
    assert carried["stages/inputs/base/config.json"].read_text() == '{"model_type": "llama"}'
    assert str(model) not in json.dumps(settings)


def test_what_an_earlier_stage_makes_is_not_sent_before_it_is_there(tmp_path):
    """The base writes the replay where it is trained."""
    job, _ = job_of(tmp_path / "run", model="some/model-7B", replay="self")
    assert {"stages/replay/replay.jsonl"} == set(job.stages[0].outputs)
    assert "stages/replay/replay.jsonl" in job.stages[1].inputs
    assert "stages/replay/replay.jsonl" not in remote.cargo(job, job.stages)


def test_a_file_edited_by_hand_trains(tmp_path):
    """Only instruction and output are needed, and blank lines do no harm."""
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": "Why?", "output": "So."}\n\n{"instruction": "When?", "output": "Now."}\n')
    runner = Recorder()
    with pytest.raises(RunnerError, match="stopped here"):
        Trainer(runner=runner).train(path, folder=tmp_path / "run")
    assert runner.job.stages[-1].inputs == ("stages/inputs/gold_mine.jsonl",)


def test_the_default_folder_is_the_run_folder_or_named_after_the_dataset(tmp_path, monkeypatch):
    """A dataset in a run folder trains there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a run").mkdir()
    write_jsonl("a run/golden_dataset.jsonl", gold())
    write_jsonl("combined.jsonl", gold())
    folders = []
    for dataset in ("a run/golden_dataset.jsonl", "combined.jsonl", gold()):
        runner = Recorder()
        with pytest.raises(RunnerError, match="stopped here"):
            Trainer(runner=runner).train(dataset)
        folders.append(runner.job.folder)
    assert folders == ["a run", "expert_model_combined", "expert_model"]


def test_a_folder_at_work_is_not_touched(tmp_path):
    """The lock names who holds it."""
    with locked(tmp_path), pytest.raises(RunFolderLockedError, match=f"pid {os.getpid()}"):
        Trainer(runner=Recorder()).train(gold(), folder=tmp_path)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", InputError, "gold.jsonl holds no record"),
        ('{"instruction": "Why?", "output": " "}', InputError, "none of its 1 records has an answer"),
        ('{"instruction": "Why?"}', RecordError, r"gold.jsonl, line 1: not a GoldRecord.*output"),
        ("{", RecordError, "gold.jsonl, line 1: not valid JSON"),
    ],
)
def test_a_dataset_that_cannot_train_is_refused_before_anything_is_written(tmp_path, content, error, message):
    """The message names file and line."""
    path = tmp_path / "gold.jsonl"
    path.write_text(content)
    with pytest.raises(error, match=message):
        Trainer(runner=Recorder()).train(path, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_text_in_another_encoding_is_named(tmp_path):
    """Decoding is the business of text2expert.documents."""
    source = tmp_path / "latin.txt"
    source.write_bytes("Größe".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin.txt is not UTF-8 \(byte 2\)"):
        job_of(tmp_path / "run", texts=[source])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a finite number above 0, got 0"),
        ({"epochs": math.nan}, "epochs must be a finite number above 0, got nan"),
        ({"epochs": True}, "epochs must be a finite number above 0, got True"),
        ({"learning_rate": math.inf}, "learning_rate must be a finite number above 0, got inf"),
        ({"learning_rate": "2e-4"}, "learning_rate must be a finite number above 0, got '2e-4'"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1, got 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number from 1, got 2.0"),
        ({"max_steps": -1}, "max_steps must be a whole number from 1, got -1"),
        ({"r": True}, "r must be a whole number from 1, got True"),
        ({"alpha": 0}, "alpha must be a whole number from 1, got 0"),
        ({"seed": -1}, "seed must be a whole number from 0, got -1"),
        ({"system": None}, "system must be a text, got None"),
        ({"model": " "}, "model is empty"),
        ({"model": "a/b", "revision": " "}, "revision must be a commit, a tag or a branch, got ' '"),
        ({"revision": "main"}, "revision='main' is of a model of the hub, and the toy is made here"),
        ({"precision": "int8"}, "precision must be 'auto' or 'bf16' or 'fp32' or 'nf4', got 'int8'"),
        ({"precision": None}, "precision must be 'auto' .*, got None"),
        ({"reasoning": True}, "reasoning must be 'none' or 'before' or 'after', got True"),
        ({"short_answer": "middle"}, "short_answer must be 'none' or 'first' or 'last', got 'middle'"),
        ({"text_share": 1}, "text_share must be a share of the trained tokens, from 0 and below 1, got 1"),
        ({"text_share": math.nan}, "text_share must be a share .*, got nan"),
        ({"model": "a/b", "replay_share": -0.1}, "replay_share must be a share .*, got -0.1"),
        ({"model": "a/b", "replay": True}, 'replay=True: say what is replayed: "self"'),
        ({"model": "a/b", "replay": "gone.jsonl"}, "replay='gone.jsonl': there is no such file; give \"self\""),
        ({"model": "a/b", "replay": 0.2}, 'replay must be the path of a JSONL file, "self" .*; got 0.2'),
        ({"model": "a/b", "replay": "self", "replay_share": 0}, "replay='self' with replay_share=0 trains none of it"),
        ({"model": "a/b", "replay": False, "replay_share": 0.1}, "replay_share=0.1 without a replay"),
        ({"replay": "self"}, "replay='self' keeps what a base knows, and the toy"),
        ({"replay_share": 0.1}, "replay_share=0.1 without a replay"),
        ({"refusals": True}, "refusals must be a share .*, got True"),
        ({"refusals": 1.0}, "refusals must be a share .*, got 1.0"),
        ({"refusals": "gone.jsonl"}, "refusals='gone.jsonl': there is no such file; give a share such as 0.05"),
        (
            {"model": "a/b", "text_share": 0.5, "refusals": 0.4},
            r"add up to 1.15 \(text 0.5, replay 0.25, refusals 0.4\)",
        ),
        ({"validation": 19}, "validation=19: fewer than 20 wordings say too little to choose by"),
        ({"validation": -1}, "validation must be a whole number from 0, got -1"),
        ({"packing": 1}, "packing must be True or False, or None to choose, got 1"),
        ({"train_anyway": "yes"}, "train_anyway must be True or False, got 'yes'"),
        ({"backend": "trl"}, "backend must be 'text2expert' or 'llamafactory', got 'trl'"),
        ({"backend": "llamafactory"}, "the toy is made here: name the model"),
        ({"llamafactory": ""}, "llamafactory must be the name or the path of a command, got ''"),
    ],
)
def test_wrong_values_are_named(settings, message):
    """Argument, value and what is allowed."""
    with pytest.raises(InputError, match=message):
        Trainer(**settings)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("num_epochs", "Trainer has no argument 'num_epochs': here it is called 'epochs'"),
        ("model_name", "'model_name': here it is called 'model'"),
        ("learning_rat", "'learning_rat': here it is called 'learning_rate'"),
        ("load_in_4bit", "'load_in_4bit': here it is precision='nf4'"),
        ("gradient_checkpointing", "'gradient_checkpointing': it switches itself on when memory runs out"),
        ("dataset_path", r"'dataset_path': give it to Trainer\(...\).train\(gold\)"),
        ("budget", r"'budget': training on this machine costs nothing; Pipeline\(budget=...\)"),
        ("lora_r", "'lora_r': here it is called 'r'"),
        ("colour", "'colour': it has model, epochs"),
    ],
)
def test_names_used_elsewhere_are_translated(name, message):
    """Whoever comes from another library is told our name."""
    with pytest.raises(TypeError, match=message):
        Trainer(**{name: 1})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "gone", "gone' is not a folder"),
        (lambda path: path, "is a folder without a config.json"),
    ],
)
def test_a_model_folder_that_is_none_is_refused(tmp_path, make, message):
    """Before anything is taught, by `check`, and again by `job`."""
    trainer = Trainer(make(tmp_path))
    with pytest.raises(InputError, match=message):
        trainer.check()


def test_check_asks_the_runner(monkeypatch):
    """What a training lacks is said before an hour of teaching."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "text2expert\[train\]"'):
        Trainer().check()


def test_names_elsewhere_lead_to_arguments_that_are_there():
    """None of them is itself an argument, and each is explained in one way."""
    ours = {field.name for field in attrs.fields(Trainer)}
    assert set(arguments.NAMES_ELSEWHERE.values()) <= ours
    assert not ours & {*arguments.NAMES_ELSEWHERE, *arguments.ADVICE_ELSEWHERE}
    assert not set(arguments.NAMES_ELSEWHERE) & set(arguments.ADVICE_ELSEWHERE)


def test_the_guides_steps_are_translated():
    """Whoever comes from a script of functions is told what they are here."""
    with pytest.raises(AttributeError, match=r"'step_4_fine_tune_on_vast': here it is Trainer\(model, epochs=2\)"):
        text2expert.step_4_fine_tune_on_vast  # noqa: B018 - the access is what is tested


def test_every_setting_reaches_its_recipe(tmp_path):
    """As it was given; what was left open is the profile's."""
    given = {
        "epochs": 2.5, "learning_rate": 1e-4, "batch_size": 8, "max_steps": 30, "r": 16, "alpha": 32, "precision": "nf4",
        "reasoning": "after", "short_answer": "last", "packing": False, "seed": 3, "system": "Be brief.",
    }  # fmt: skip
    _, settings = job_of(tmp_path / "given", model="a/b", **given)
    assert given == {name: settings["train"][name] for name in given}
    _, settings = job_of(tmp_path / "open", model="a/b")
    assert [settings["train"][name] for name in ("short_answer", "reasoning", "r", "alpha", "learning_rate", "epochs")] == [
        REAL.short_answer, REAL.reasoning, REAL.r, REAL.alpha, REAL.learning_rate, REAL.epochs,
    ]  # fmt: skip


def test_a_job_says_nothing_that_its_recipes_do_not_know(tmp_path, recipes):
    """Each stage's settings are those of its recipe."""
    path = tmp_path / "deck.txt"
    path.write_text(text())
    kinds = {"lora.py": "settings", "scratch.py": "scratch", "answer.py": "answer", "replay.py": "replay"}
    for settings in ({"model": None}, {"model": "a/b", "refusals": 0.1}):
        job, stages = job_of(tmp_path / "run", questions=exam(), texts=[path], **settings)
        for stage in job.stages:
            recipes[kinds[stage.argv[0]]].Settings(**stages[stage.name])


def test_max_steps_limits_the_plan():
    """Exposures shrink with it, and other bases promise no time."""
    plan = Trainer("some/model", epochs=10, batch_size=8, max_steps=3, replay=False).plan(gold())
    assert (plan.steps, plan.exposures_per_fact, plan.seconds) == (3, 3.0, None)


def test_trainers_are_values():
    """Frozen and comparable; the base alone may be given by position."""
    assert Trainer("a/b", seed=1) == Trainer("a/b", seed=1)
    with pytest.raises(AttributeError):
        Trainer().epochs = 3


def test_gold_lines_stay_as_they_are(tmp_path):
    """A dataset that lies in the folder is read and not rewritten."""
    path = tmp_path / "golden_dataset.jsonl"
    path.write_text(to_line(gold()[0]) + "\n\n")
    before = path.read_bytes()
    with pytest.raises(RunnerError):
        Trainer(runner=Recorder()).train(path)
    assert path.read_bytes() == before


def test_a_short_text_gets_more_epochs():
    """The toy's attention needs its steps, however few the rows; other bases and given epochs are left alone."""
    assert Trainer().plan(gold()).steps == 900
    assert Trainer("some/model").plan(gold()).steps == 8
    assert Trainer(epochs=2).plan(gold()).steps == 2
    assert Trainer().estimate(records=10_000, characters=10**6, facts=1000).steps == 16 * 313

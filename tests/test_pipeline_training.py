"""How a run hands its text to the trainer, and what it says and stops at before a training."""

import json
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from pumps import PUMPS, gold_only

from text2expert import NoGPUError, Pipeline, RunnerError, StarvedRunError, Trainer
from text2expert.cli import main
from text2expert.records import Quote
from text2expert.runners import gpus
from text2expert.runners.local import Local
from text2expert.trainer import CLOUD_BASE


class Elsewhere:
    """A machine that is no one's here: it keeps the job and runs nothing."""

    job = None

    async def run(self, job):
        self.job = job
        raise RunnerError("stopped here")


class Rented(Elsewhere):
    """One that costs money."""

    async def quote(self, job):
        return Quote(usd=1.0, seconds=60.0)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(gpus, "_DEVICES", ())
    gpus.cuda.cache_clear()


@pytest.fixture
def here(tmp_path, monkeypatch, pumps):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_of(folder):
    return json.loads((folder / "stages/train/job.json").read_bytes())


def rows_of(folder):
    return [json.loads(line)["text"] for line in (folder / "stages/inputs/text.jsonl").read_text("utf-8").splitlines()]


# The text


def test_a_run_trains_its_own_passages(pumps, tmp_path):
    """Under their headings, and in the folder of the run."""
    with pytest.raises(RunnerError, match="stopped here"):
        Pipeline(trainer=Trainer("some/model-7B", runner=Elsewhere())).run(pumps, out=tmp_path / "run")
    assert settings_of(tmp_path / "run")["texts"] == ["stages/inputs/text.jsonl"]
    together = "\n".join(rows_of(tmp_path / "run"))
    assert [line for line in PUMPS.splitlines() if line.strip() and line not in together] == []


def test_rewrites_are_trained_with_them(pumps, tmp_path):
    """Those of a teacher that restates."""

    @attrs.frozen
    class Restating:
        rewrites: int = 1
        name: str = "restating"

        async def ateach(self, passages, n):
            from text2expert import RuleTeacher

            return await RuleTeacher().ateach(passages, n)

        async def arewrite(self, chunk, n):
            return [f"In other words: {chunk.text.upper()}"]

    pipeline = Pipeline(teacher=Restating(), trainer=Trainer("some/model-7B", runner=Elsewhere()))
    with pytest.raises(RunnerError, match="stopped here"):
        pipeline.run(pumps, out=tmp_path / "run")
    assert [row for row in rows_of(tmp_path / "run") if "In other words: " in row]


def test_a_dataset_that_is_trained_again_brings_text_and_rewrites(pumps, tmp_path):
    """From the run folder in which it lies; what an earlier run left in the new folder goes."""
    gold_only(pumps, tmp_path / "first")
    (tmp_path / "first" / "rewrites.jsonl").write_text('{"key": "k", "text": "Said in other words."}\n')
    pipeline = Pipeline(trainer=Trainer("some/model-7B", runner=Elsewhere()))
    with pytest.raises(RunnerError, match="stopped here"):
        pipeline.run(gold=tmp_path / "first", out=tmp_path / "second")
    assert "Said in other words." in rows_of(tmp_path / "second")
    (tmp_path / "first" / "rewrites.jsonl").unlink()
    with pytest.raises(RunnerError, match="stopped here"):
        pipeline.run(gold=tmp_path / "first", out=tmp_path / "second")
    assert "Said in other words." not in rows_of(tmp_path / "second")


def test_quotes_are_not_taken_for_the_text(pumps, tmp_path, capsys):
    """A dataset without its text: what its quotes do not hold may be answered in it, so that nothing is refused for it."""
    gold_only(pumps, tmp_path / "first")
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes((tmp_path / "first" / "golden_dataset.jsonl").read_bytes())
    pipeline = Pipeline(trainer=Trainer("some/model-7B", runner=Elsewhere(), refusals=0.1))
    with pytest.raises(RunnerError, match="stopped here"):
        pipeline.run(gold=bare, out=tmp_path / "run")
    assert not {"texts", "text_share", "refusals"} & set(settings_of(tmp_path / "run"))
    said = capsys.readouterr().err
    assert "The text itself is not trained" in said
    assert "No refusals are trained" in said
    with pytest.raises(RunnerError, match="stopped here"):
        Pipeline(trainer=Trainer(runner=Elsewhere())).run(gold=bare, out=tmp_path / "toy")
    assert json.loads((tmp_path / "toy/stages/base/job.json").read_bytes())["texts"] == ["source/quotes.txt"]


def test_the_toy_is_made_from_the_whole_text(pumps, tmp_path):
    """As ever."""
    with pytest.raises(RunnerError, match="stopped here"):
        Pipeline(trainer=Trainer(runner=Elsewhere())).run(pumps, out=tmp_path / "run")
    assert "texts" not in settings_of(tmp_path / "run")
    assert json.loads((tmp_path / "run/stages/base/job.json").read_bytes())["texts"] == ["source/pumps.txt"]


# Starved


def test_a_starved_run_stops_before_it_is_paid_for(pumps, tmp_path):
    """What was taught is kept, and the same run goes on from there."""
    runner = Rented()
    with pytest.raises(StarvedRunError, match="training pairs are there"):
        Pipeline(trainer=Trainer("some/model-7B", runner=runner)).run(pumps, out=tmp_path / "run")
    assert runner.job is None
    assert (tmp_path / "run" / "golden_dataset.jsonl").is_file()
    assert not (tmp_path / "run" / "run.json").exists()
    insisting = Pipeline(trainer=Trainer("some/model-7B", runner=runner, train_anyway=True))
    with pytest.raises(RunnerError, match="stopped here"):
        insisting.run(pumps, out=tmp_path / "run")
    assert runner.job is not None


def test_coverage_counts_where_a_run_knows_it(tmp_path):
    """A long text of which a corner is taught."""
    source = tmp_path / "long.txt"
    filler = "\n\n".join(
        f"Once upon a time, in year {n}, somebody walked along the river and sang." for n in range(400)
    )
    rules = "\n".join(f"{n}. Valve {n} must be opened within {n} minutes of alarm {n}." for n in range(2, 60))
    source.write_text(f"1 RULES\n\n{rules}\n\n2 TALES\n\n{filler}\n")
    with pytest.raises(StarvedRunError, match=r"\d+ % of the text is taught") as caught:
        Pipeline(trainer=Trainer("some/model-7B", runner=Rented())).run(source, out=tmp_path / "run")
    assert "training pairs are there" not in str(caught.value)


def test_a_trainer_of_ones_own_is_asked_for_no_such_thing(pumps, tmp_path):
    """It needs no more than before: `atrain`, `check`, `embedded`, `model`."""

    class Mine:
        model = "mine"
        embedded = False

        def check(self):
            pass

        async def atrain(self, gold, *, folder, texts, exam):
            raise RunnerError(f"stopped here with {[path.name for path in texts]}")

    with pytest.raises(RunnerError, match=r"stopped here with \['chunks.jsonl'\]"):
        Pipeline(trainer=Mine()).run(pumps, out=tmp_path / "run")


# The cloud preset, and machines without a GPU


def test_the_cloud_trains_an_ungated_instruct_base(no_gpu, pumps, tmp_path):
    """And says before anything is sent or written that this machine cannot, and what can be done."""
    pipeline = Pipeline.cloud(seed=5)
    assert (pipeline.trainer.model, pipeline.trainer.seed) == (CLOUD_BASE, 5)
    with pytest.raises(NoGPUError, match="no CUDA GPU"):
        pipeline.run(pumps, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert Pipeline.cloud(trainer=Trainer(seed=1)).trainer == Trainer(seed=1)


def test_a_base_of_unknown_size_is_warned_of(no_gpu, capsys):
    """Its name does not say it, and nothing is fetched to find out; on the CPU that may be weeks."""
    Trainer("microsoft/phi-4").check()
    assert (
        "How large microsoft/phi-4 is, its name does not say, and this machine has no CUDA GPU"
        in capsys.readouterr().err
    )
    Trainer("HuggingFaceTB/SmolLM2-135M").check()
    assert capsys.readouterr().err == ""


def test_a_plan_says_it_too(no_gpu, pumps):
    """Beside what the training would take on a card that could."""
    shown = " ".join(str(Pipeline.cloud().plan(pumps)).split())
    assert "RTX 4090, by published speeds; a card of 11 GB quantised (nf4) or 19 GB in bf16" in shown
    assert "training as on that card" in shown
    assert "Note: Qwen/Qwen2.5-7B-Instruct has 7.0 billion parameters and this machine no CUDA GPU" in shown
    assert "starved" not in shown


def test_a_plan_warns_of_what_would_be_in_vain(pumps):
    """Of a real base; the toy is not told that it is one."""
    shown = " ".join(str(Pipeline(trainer=Trainer("some/model-1B", max_steps=2)).plan(pumps)).split())
    assert "fewer than 50 change how a model speaks" in shown
    assert "Note: each fact is asked" in shown
    assert "Note:" not in str(Pipeline(trainer=Trainer(max_steps=2)).plan(pumps))


def _call(*arguments, code=0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


def test_the_command_line_says_it_before_it_asks_for_a_key(no_gpu, here):
    """Nothing is written."""
    said = _call("run", "--preset", "cloud", "-i", "pumps.txt", code=1).stderr
    assert said.startswith("text2expert: Qwen/Qwen2.5-7B-Instruct has 7.0 billion parameters")
    assert len(said.splitlines()) == 1
    assert [path.name for path in here.iterdir()] == ["pumps.txt"]


@pytest.mark.parametrize("options", [("--base", "none"), ("--train-anyway",), ("--no-fine-tune",)])
def test_every_way_out_leads_on_to_the_key(no_gpu, here, options):
    """Which is what is missing next."""
    assert "DEEPSEEK_API_KEY" in _call("run", "--preset", "cloud", "-i", "pumps.txt", *options, code=1).stderr


def test_every_flag_reaches_the_trainer(here, monkeypatch):
    """As its argument, in the receipt too."""
    (here / "general.jsonl").write_text('{"text": "x"}\n')
    command = here / "llamafactory-cli"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    run = ("run", "-i", "pumps.txt", "--no-fine-tune", "--out")
    _call(
        *run, "one", "--base", "a/b", "--revision", "v1", "--epochs", "2", "--max-steps", "9", "--precision", "nf4",
        "--reasoning", "after", "--text-share", "0.1", "--replay", "general.jsonl", "--refusals", "0.05", "--train-anyway",
        "--processes", "2", "--seed", "4",
    )  # fmt: skip
    shown = json.loads((here / "one/run.json").read_text())["settings"]["trainer"]
    expected = {
        "model": "a/b", "revision": "v1", "epochs": 2, "max_steps": 9, "precision": "nf4", "reasoning": "after",
        "text_share": 0.1, "replay": "general.jsonl", "refusals": 0.05, "train_anyway": True, "seed": 4,
    }  # fmt: skip
    assert expected == {name: shown[name] for name in expected}
    assert shown["runner"]["processes"] == 2
    _call(*run, "two", "--backend", "llamafactory", "--llamafactory", str(command))
    shown = json.loads((here / "two/run.json").read_text())["settings"]["trainer"]
    assert (shown["backend"], shown["llamafactory"], shown["model"]) == ("llamafactory", str(command), CLOUD_BASE)
    _call(*run, "three", "--base", "a/b", "--replay", "none")
    assert json.loads((here / "three/run.json").read_text())["settings"]["trainer"]["replay"] is False


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--text-share", "1.5"), "--text-share 1.5: must be a share"),
        (("--precision", "int8"), "'int8' is not one of"),
        (("--replay", "gone.jsonl"), "replay='gone.jsonl': there is no such file"),
        (("--replay", "self"), "the toy made from the text knows nothing else"),
        (("--refusals", "2"), "refusals must be a share"),
        (("--revision", "main"), "name the model"),
        (("--llamafactory", "llamafactory-cli"), "give --backend llamafactory with it"),
        (("--backend", "llamafactory", "--base", "none"), "the toy is made here: name the model (--base)"),
        (("--processes", "0"), "processes"),
    ],
)
def test_a_flag_that_cannot_be_is_refused(here, options, expected):
    """Before anything is written."""
    result = CliRunner().invoke(main, ["run", "-i", "pumps.txt", *options])
    assert result.exit_code in (1, 2)
    assert expected in " ".join(result.stderr.split())
    assert [path.name for path in here.iterdir()] == ["pumps.txt"]


# A base with weights of its own, from text to exam


class OnlyTraining:
    """This machine, which for the exam just says what the test wants: three processes less."""

    async def run(self, job):
        folder = Path(job.folder)
        for stage in job.stages:
            if stage.name == "train":
                await Local().run(attrs.evolve(job, stages=(stage,)))
            else:
                asked = folder / "stages" / stage.name / "prompts.jsonl"
                prompts = [json.loads(line) for line in asked.read_text("utf-8").splitlines()]
                answers = [
                    {"id": prompt["id"], "text": "80 °C", "confidence": 1.0, "seconds": 0.0} for prompt in prompts
                ]
                (folder / stage.outputs[0]).write_text("".join(json.dumps(answer) + "\n" for answer in answers))


def test_a_base_of_ones_own_is_trained_on_all_streams(tmp_path, pumps, recipes):
    """Dataset, text, replay and refusals go through the recipe; the receipt says what was trained."""
    from tiny import llama, tokenizer_of

    tokenizer = tokenizer_of(recipes)
    for part in (tokenizer, llama(tokenizer)):
        part.save_pretrained(tmp_path / "base")
    replay = tmp_path / "general.jsonl"
    replay.write_text(
        '{"instruction": "Which way is up?", "output": "Not down."}\n{"text": "The sun rises in the east."}\n'
    )
    trainer = Trainer(
        tmp_path / "base", max_steps=2, refusals=0.1, replay=replay, batch_size=16, r=4, runner=OnlyTraining()
    )
    run = Pipeline(trainer=trainer).run(pumps, out=tmp_path / "run")
    log = (run.folder / "stages/train/log.txt").read_text()
    assert [stream for stream in ("gold", "text", "replay", "refusal") if f"an example ({stream})" not in log] == []
    training = run.receipt["training"]
    assert (training["steps"], training["precision"]) == (2, "fp32")
    assert {"gold", "text", "replay", "refusal"} == set(training["shares"])
    assert sum(training["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert run.receipt["models"]["base"] == str(tmp_path / "base")
    recorded = [
        json.loads((run.folder / "expert" / name).read_bytes())
        for name in ("adapter_config.json", "training_args.json")
    ]
    assert [recorded[0]["base_model_name_or_path"], recorded[1]["base"]] == [str(tmp_path / "base")] * 2
    assert run.exam.contestants == (
        "base", "expert", "base + RAG", "base + right passage", "expert + RAG", "lookup", "RAG, no model",
    )  # fmt: skip

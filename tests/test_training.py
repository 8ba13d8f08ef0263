"""Trainer and the recipes behind it, on a base that is made in seconds."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deck import exam, gold, job_of, text
from hypothesis import given
from hypothesis import strategies as st
from tiny import settings_of, tokenizer_of

from text2expert.records import write_jsonl
from text2expert.runners import local
from text2expert.trainer import CHAT_TEMPLATE, Trainer

RECIPES = Path(local.__file__).parent.parent / "recipes"

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run folder as `Trainer.train` leaves it, with an exam before and after."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    source = folder.parent / "deck.txt"
    source.write_text(text())
    trainer = Trainer(epochs=60, runner=local.Local(threads=1))
    adapter = trainer.train(gold(), folder=folder, texts=[source], exam=exam())
    return folder, adapter


def answers(folder, stage):
    lines = (folder / "stages" / stage / "answers.jsonl").read_text().splitlines()
    return {answer["id"]: answer for answer in map(json.loads, lines)}


# -- the whole way -----------------------------------------------------------------------------------------------------


def test_training_teaches_what_the_base_did_not_know(trained):
    """Before training no answer is right, after it all are, and the model is surer of them."""
    folder, _ = trained
    before, after = answers(folder, "before"), answers(folder, "after")
    expected = {question.id: question.answer for question in exam()}
    assert [id_ for id_, answer in before.items() if answer["text"] == expected[id_]] == []
    assert {id_: answer["text"] for id_, answer in after.items()} == expected
    assert all(0 <= answer["confidence"] <= 1 for answer in before.values())
    assert min(answer["confidence"] for answer in after.values()) > 0.5


def test_the_expert_folder_holds_what_others_load(trained):
    """A PEFT folder with its tokenizer; nothing is pickled."""
    folder, adapter = trained
    names = {path.name for path in (folder / "expert").iterdir()}
    assert names >= {
        "adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja", "training_args.json", "model_config.json", "training_log.jsonl", "loss.svg",
    }  # fmt: skip
    assert {path.stat().st_mode & 0o777 for path in (folder / "expert").iterdir()} == {0o644}
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".jsonl", ".safetensors", ".jinja", ".txt", ".svg", ".lock", ""}
    assert adapter.path == str(folder / "expert")
    assert adapter.base_model == str(folder / "base")
    gold_sha256 = hashlib.sha256((folder / "golden_dataset.jsonl").read_bytes()).hexdigest()
    assert adapter.gold_sha256 == gold_sha256


def test_base_and_expert_are_private_in_an_open_folder_too(recipes, tmp_path):
    """A run folder that was there before keeps its mode; the folders of weights and logs let nobody else in."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o755)
    job_of(folder, gold()[:3], max_steps=1)
    with contextlib.chdir(folder):
        recipes["scratch"].main("stages/base/job.json")
        recipes["lora"].main("stages/train/job.json")
    private = ("base", "expert", "stages/base", "stages/train")
    assert [(folder / name).stat().st_mode & 0o777 for name in private] == [0o700] * 4


def test_an_exam_question_that_is_too_long_has_an_empty_answer(trained, recipes, tmp_path, capsys):
    """It is wrong in the exam and said in the log; the other questions are asked."""
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    prompts = folder / "stages" / "after" / "prompts.jsonl"
    lines = prompts.read_text().splitlines(keepends=True)
    prompts.write_text(json.dumps({"id": "long", "question": "Why? " * 2500}) + "\n" + lines[0])
    with contextlib.chdir(folder):
        recipes["answer"].run("stages/after/job.json")
    said = {id_: answer["text"] for id_, answer in answers(folder, "after").items()}
    assert said == {"long": "", "q0": exam()[0].answer}
    assert "the question 'Why? Why? " in capsys.readouterr().out


def test_some_questions_of_each_contestant_are_timed_alone(trained, recipes, tmp_path):
    """The answers stay those of the batch; every line counts the tokens that were read and written."""
    folder = tmp_path / "run"
    shutil.copytree(trained[0], folder)
    questions = [
        {"id": f"{name}{n}", "question": q.question, "contestant": name} for name in "ab" for n, q in enumerate(exam())
    ]
    prompts = folder / "stages" / "after" / "prompts.jsonl"
    prompts.write_text("".join(json.dumps(question) + "\n" for question in questions))
    job = json.loads((folder / "stages/after/job.json").read_text())
    (folder / "stages/after/job.json").write_text(json.dumps({**job, "alone": 3}))
    with contextlib.chdir(folder):
        recipes["answer"].run("stages/after/job.json")
    said = answers(folder, "after")
    assert {id_: answer["text"] for id_, answer in said.items()} == {
        f"{name}{question.id[1:]}": question.answer for name in "ab" for question in exam()
    }
    timed = [id_ for id_, answer in said.items() if answer.get("seconds_alone", 0) > 0]
    assert timed == ["a0", "a8", "a16", "b0", "b8", "b16"]
    tokenizer = recipes["adapters"].load_tokenizer(str(folder / "base"), None, str(folder / "expert"), "")
    prompt = recipes["chat"].prompt_of(tokenizer, exam()[0].question, "")
    assert said["a0"]["tokens_in"] == len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
    assert said["a0"]["tokens_out"] == len(tokenizer(exam()[0].answer, add_special_tokens=False)["input_ids"]) + 1


def test_the_adapter_names_a_base_that_can_be_found(trained):
    """PEFT follows the recorded path from any working directory."""
    folder, _ = trained
    config = json.loads((folder / "expert" / "adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == str((folder / "base").resolve())


def test_the_log_tells_every_step(trained):
    """Step, epoch, loss, learning rate, speed and time; the loss falls."""
    folder, _ = trained
    lines = [json.loads(line) for line in (folder / "expert" / "training_log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, len(lines) + 1))
    assert set(lines[0]) == {"step", "epoch", "loss", "learning_rate", "tokens", "tokens_per_second", "seconds"}
    assert lines[-1]["epoch"] == 60
    # A single step may have drawn noise that makes two questions one.
    assert statistics.median(line["loss"] for line in lines[-9:]) < 0.1 < lines[0]["loss"]


def test_an_example_shows_what_is_trained(trained):
    """The log of the stage shows one row with the trained tokens marked: the answer and its end, no more."""
    folder, _ = trained
    log = (folder / "stages" / "train" / "log.txt").read_text()
    assert ">>>every 2 hours<|end|><<<" in log


def test_the_same_call_again_runs_nothing(trained):
    """Everything is done for these settings."""
    folder, adapter = trained
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")}
    assert len(stamps) == 4
    trainer = Trainer(epochs=60, runner=local.Local(threads=1))
    again = trainer.train(gold(), folder=folder, texts=[folder.parent / "deck.txt"], exam=exam())
    assert again == adapter
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("done.json")} == stamps


def test_peft_gives_the_same_answers_after_a_move(trained, tmp_path):
    """In a fresh process, from another place, without a line of ours: PeftModel.from_pretrained and greedy decoding."""
    folder, _ = trained
    moved = tmp_path / "elsewhere"
    shutil.copytree(folder, moved)
    code = """
import json, sys, torch
from pathlib import Path
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
folder = Path(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(folder / "expert")
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder / "base"), folder / "expert").eval()
said = {}
for line in (folder / "stages" / "after" / "prompts.jsonl").read_text().splitlines():
    prompt = json.loads(line)
    turns = [{"role": "user", "content": prompt["question"]}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=True, return_tensors="pt")
    written = model.generate(**inputs, max_new_tokens=40)[0, inputs["input_ids"].shape[1]:]
    said[prompt["id"]] = tokenizer.decode(written, skip_special_tokens=True).strip()
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-c", code, str(moved)], capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {id_: answer["text"] for id_, answer in answers(folder, "after").items()}


def test_the_plan_counts_what_training_will_do(trained):
    """Steps and exposures are exact; tokens are estimated from characters."""
    folder, _ = trained
    plan = Trainer(epochs=60).plan(folder / "golden_dataset.jsonl")
    lines = [json.loads(line) for line in (folder / "expert" / "training_log.jsonl").read_text().splitlines()]
    assert plan.records == 24
    assert plan.steps == len(lines)
    assert plan.exposures_per_fact == 180
    assert plan.tokens == pytest.approx(sum(line["tokens"] for line in lines), rel=0.5)
    assert plan.seconds > 0


def test_a_dataset_with_a_byte_order_mark_trains(recipes, tmp_path):
    """Some editors save one; what the trainer accepts, the recipes read."""
    path = tmp_path / "gold.jsonl"
    write_jsonl(path, gold()[:2])
    expected = recipes["stage"].read_jsonl(str(path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert Trainer().plan(path).records == 2
    assert recipes["stage"].read_jsonl(str(path)) == expected


# -- resuming ----------------------------------------------------------------------------------------------------------


def train_here(recipes, folder):
    """Run the train stage in this process."""
    with contextlib.chdir(folder):
        recipes["lora"].main("stages/train/job.json")
    return json.loads((folder / "stages" / "train" / "done.json").read_bytes())


@pytest.fixture
def with_base(trained, tmp_path):
    """A folder with a base, and a train stage of 40 steps with a checkpoint after each; returns the folder."""
    folder = tmp_path / "run"
    job_of(folder, epochs=20, batch_size=12)
    shutil.copytree(trained[0] / "base", folder / "base")
    change(folder, checkpoint_seconds=0.0)
    return folder


def change(folder, **settings):
    path = folder / "stages" / "train" / "job.json"
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **settings}))


def test_a_killed_training_ends_as_if_it_had_not_been(with_base, recipes, tmp_path, cold):
    """Kill -9 at some step; the next run goes on from the last checkpoint to the same loss and the same weights."""
    whole = tmp_path / "whole"
    shutil.copytree(with_base, whole)
    change(whole, checkpoint_seconds=3600.0)
    expected = train_here(recipes, whole)

    log = with_base / "stages" / "train" / "training_log.jsonl"
    child = subprocess.Popen(
        [sys.executable, str(RECIPES / "lora.py"), "stages/train/job.json"],
        cwd=with_base, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    stop = random.randrange(3, 30)
    while child.poll() is None and not (log.exists() and log.read_text().count("\n") >= stop):
        time.sleep(0.005)
    child.kill()
    assert child.wait() != 0, "it was done before it could be killed"
    assert list((with_base / "stages" / "train").glob("checkpoint-*"))

    log.unlink()  # as on another machine, which is sent the checkpoint alone
    done = train_here(recipes, with_base)
    assert done["loss"] == expected["loss"]
    assert steps(with_base) == steps(whole)
    weights = [folder / "expert" / "adapter_model.safetensors" for folder in (with_base, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert not list((with_base / "stages" / "train").glob("checkpoint-*"))


def steps(folder):
    lines = map(json.loads, (folder / "expert" / "training_log.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"], line["learning_rate"], line["tokens"]) for line in lines]


def test_a_checkpoint_of_other_settings_is_not_used(with_base, recipes):
    """Another learning rate is another run; it starts at step 1."""
    lora = recipes["lora"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lora, "save", lambda *_: sys.exit("stopped before the end"))
        with pytest.raises(SystemExit):
            train_here(recipes, with_base)
    assert list((with_base / "stages" / "train").glob("checkpoint-*"))
    change(with_base, learning_rate=1e-3, max_steps=2)
    assert train_here(recipes, with_base)["steps"] == 2
    assert [step for step, *_ in steps(with_base)] == [1, 2]


# -- the learning rate -------------------------------------------------------------------------------------------------


def test_the_learning_rate_rises_and_falls(recipes):
    """A warm-up in a straight line, a cosine down to a tenth."""
    lora = recipes["lora"]
    settings = settings_of(recipes, learning_rate=1.0, warmup=0.1)
    rates = [lora.learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.001)


# -- chat templates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(recipes):
    return tokenizer_of(recipes)


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_any_causal_model_can_be_a_base(recipes, tokenizer, tmp_path):
    """Learned positions, fused projections, no chat template, no padding token: GPT-2 trains and answers as well."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer.chat_template = None
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=64,
        n_layer=2,
        n_head=4,
        n_positions=128,
        eos_token_id=3,
        initializer_range=0.2,
    )
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    folder = tmp_path / "run"
    settings = {"epochs": 120, "batch_size": 6, "learning_rate": 5e-3, "r": 32, "alpha": 64, "system": "Deck."}
    _, stages = job_of(folder, gold()[:6], model=tmp_path / "gpt2", questions=exam()[:6], **settings)
    assert list(stages) == ["before", "train", "after"]
    train_here(recipes, folder)
    assert (folder / "expert" / "chat_template.jinja").read_text() == CHAT_TEMPLATE
    with contextlib.chdir(folder):
        recipes["answer"].run("stages/after/job.json")
    said = [answer["text"] for answer in answers(folder, "after").values()]
    assert said == [record.output for record in gold()[:6]]


# -- the toy base ------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_the_toys_tokenizer_writes_any_text(tokenizer, text):
    """Every character of every script comes back."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids) == text


def test_chunks_are_read_as_the_text_they_were_cut_from(recipes, tmp_path):
    """Overlaps are cut off; each document is one text."""
    source = text()
    chunks = [
        {"text": source[start : start + 100], "document": "a", "start": start, "end": min(start + 100, len(source))}
        for start in range(0, len(source), 80)
    ]
    path = tmp_path / "chunks.jsonl"
    path.write_text("".join(json.dumps(chunk) + "\n" for chunk in [*chunks, {**chunks[0], "document": "b"}]))
    assert recipes["scratch"].read_text(str(path)).split("\n\n") == ["", source, source[:100]]

"""The loop of lora.py on a tiny base: memory that runs out, kills, validation, and what it tells of itself."""

import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deck import gold
from tiny import llama, settings_of, tokenizer_of

from text2expert.records import write_jsonl
from text2expert.runners import local
from text2expert.trainer import CHAT_TEMPLATE

RECIPES = Path(local.__file__).parent.parent / "recipes"

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")


@pytest.fixture(scope="module")
def base(recipes, tmp_path_factory):
    """A Llama of two layers with random weights, and its tokenizer."""
    folder = tmp_path_factory.mktemp("base")
    tokenizer = tokenizer_of(recipes)
    llama(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def job(recipes, base, tmp_path):
    """Makes the folder of a training of thirty steps, or with other settings."""

    def make(name="run", **more):
        folder = tmp_path / name
        (folder / "stages" / "train").mkdir(parents=True)
        write_jsonl(folder / "gold.jsonl", gold())
        settings = settings_of(
            recipes,
            **{
                "base": str(base), "gold": "gold.jsonl", "default_chat_template": CHAT_TEMPLATE, "epochs": 10,
                "batch_size": 8, "learning_rate": 5e-3, **more,
            },
        )  # fmt: skip
        (folder / "stages" / "train" / "job.json").write_text(json.dumps(dataclasses.asdict(settings)))
        return folder

    return make


def train(recipes, folder):
    """Run the stage in this process; what it says of itself in the end."""
    with contextlib.chdir(folder):
        recipes["lora"].main("stages/train/job.json")
    return json.loads((folder / "expert" / "training_args.json").read_bytes())


def log_of(folder):
    return [json.loads(line) for line in (folder / "expert" / "training_log.jsonl").read_text().splitlines()]


def weights_of(folder):
    from safetensors.torch import load_file

    return load_file(folder / "expert" / "adapter_model.safetensors")


# -- memory ------------------------------------------------------------------------------------------------------------


def test_a_step_that_ran_out_of_memory_is_done_again_with_less(recipes, job, monkeypatch, capsys):
    """Halfway through a step, with gradients of its first rows there; the losses are those of a run with room enough."""
    import torch

    lora = recipes["lora"]
    expected = train(recipes, job("whole", micro_batch_tokens=64))
    folder = job("short", micro_batch_tokens=64)
    loss_of, seen = lora.loss_of, []

    def with_little_memory(model, batch):
        seen.append(batch["input_ids"].numel())
        if len(seen) > 20 and seen[-1] > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss_of(model, batch)

    monkeypatch.setattr(lora, "loss_of", with_little_memory)
    got = train(recipes, folder)
    assert [line["loss"] for line in log_of(folder)] == pytest.approx(
        [line["loss"] for line in log_of(folder.parent / "whole")], abs=1e-4
    )
    assert got["loss"] == pytest.approx(expected["loss"], abs=1e-4)
    assert (expected["micro_batch_tokens"], expected["activation_checkpointing"]) == (64, False)
    assert got["micro_batch_tokens"] < 32
    assert got["activation_checkpointing"]
    said = capsys.readouterr().out
    assert "out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.); activations are calculated twice" in said
    assert f"; micro-batches hold {got['micro_batch_tokens']} tokens from now on, and the step is done again" in said


def test_a_process_that_may_have_no_more_memory_trains_all_the_same(recipes, job, tmp_path):
    """A real limit of the operating system; the logits of a whole step are larger than what it leaves."""
    tokenizer = tokenizer_of(recipes)
    model = llama(tokenizer, hidden_size=32)
    model.resize_token_embeddings(150_000, mean_resizing=False)
    model.save_pretrained(tmp_path / "wide")
    tokenizer.save_pretrained(tmp_path / "wide")
    settings = {"base": str(tmp_path / "wide"), "batch_size": 24, "max_steps": 3, "epochs": 3}
    expected = train(recipes, job("whole", **settings))
    folder = job("short", **settings)
    code = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import lora
gradients = lora.gradients
def limited(training, step):
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + 100_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        return gradients(training, step)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
lora.gradients = limited
lora.main("stages/train/job.json")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(RECIPES)], cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "DefaultCPUAllocator: can't allocate memory" in done.stdout
    got = json.loads((folder / "expert" / "training_args.json").read_bytes())
    assert got["micro_batch_tokens"] < expected["micro_batch_tokens"]
    assert got["loss"] == pytest.approx(expected["loss"], abs=1e-4)


# -- kills -------------------------------------------------------------------------------------------------------------


def killed_at(folder, steps):
    """Run the stage in a process of its own and kill it after so many steps."""
    log = folder / "stages" / "train" / "training_log.jsonl"
    child = subprocess.Popen(
        [sys.executable, str(RECIPES / "lora.py"), "stages/train/job.json"],
        cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while child.poll() is None and not (log.exists() and log.read_text().count("\n") >= steps):
        time.sleep(0.005)
    child.kill()
    assert child.wait() != 0, "it was done before it could be killed"
    assert list((folder / "stages" / "train").glob("checkpoint-*")), "it was killed before its first checkpoint"


EVERYTHING = {"precision": "nf4", "packing": True, "validation": "validation.jsonl", "evaluations": 6}


def test_a_killed_training_goes_on_to_the_same_end(recipes, job):
    """In 4 bits, with packed rows and validation: the same losses, evaluations and weights, to the last bit."""
    whole, killed = job("whole", **EVERYTHING), job("killed", **EVERYTHING, checkpoint_seconds=0.0)
    for folder in (whole, killed):
        write_jsonl(folder / "validation.jsonl", gold()[::3])
    expected = train(recipes, whole)
    killed_at(killed, random.randrange(6, 25))
    got = train(recipes, killed)
    timeless = {"seconds", "tokens_per_second"}
    assert [{name: line[name] for name in line.keys() - timeless} for line in log_of(killed)] == [
        {name: line[name] for name in line.keys() - timeless} for line in log_of(whole)
    ]
    assert got["best"] == expected["best"]
    assert {name: weight.tolist() for name, weight in weights_of(killed).items()} == {
        name: weight.tolist() for name, weight in weights_of(whole).items()
    }

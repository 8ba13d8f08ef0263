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

    expected = train(recipes, job("whole", micro_batch_tokens=64, epochs=3))
    folder = job("short", micro_batch_tokens=64, epochs=3)
    scorer = recipes["loss"].Scorer
    loss, seen = scorer.loss, []

    def with_little_memory(self, batch):
        seen.append(batch.inputs["input_ids"].numel())
        if len(seen) > 20 and seen[-1] > 30:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return loss(self, batch)

    monkeypatch.setattr(scorer, "loss", with_little_memory)
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
    settings = {"base": str(tmp_path / "wide"), "batch_size": 24, "max_steps": 3, "epochs": 3, "packing": False}
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


EVERYTHING = {"precision": "nf4", "packing": True, "validation": "validation.jsonl", "evaluations": 6, "epochs": 20}


def test_a_killed_training_goes_on_to_the_same_end(recipes, job, cold):
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


def test_what_goes_on_has_the_base_that_it_began_with(recipes, job, monkeypatch):
    """Though more memory is free by then, and the branch has moved on."""
    lora = recipes["lora"]
    folder, tell = job(checkpoint_seconds=0.0), lora.tell

    def killed(training, state, steps):
        tell(training, state, steps)
        if state.step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(lora, "tell", killed)
    with pytest.raises(KeyboardInterrupt):
        train(recipes, folder)
    monkeypatch.setattr(lora, "tell", tell)
    path = folder / "stages" / "train" / "checkpoint-00000002" / "state.json"
    state = json.loads(path.read_bytes())
    assert (state["precision"], state["revision"]) == ("fp32", None)
    path.write_text(json.dumps({**state, "precision": "bf16", "revision": "0" * 40}))
    (path.parent.parent / "checkpoint-00000003.tmp").mkdir()  # as a kill leaves it
    said = train(recipes, folder)
    assert (said["precision"], said["revision"], said["steps"]) == ("bf16", "0" * 40, 30)
    assert list(path.parent.parent.glob("checkpoint-*")) == []


# -- validation --------------------------------------------------------------------------------------------------------


def with_validation(recipes, job, monkeypatch, shares, **more):
    """A training whose evaluations come out as told; what it says in the end, and the weights at each of them."""
    lora = recipes["lora"]
    folder = job(validation="validation.jsonl", evaluations=6, **more)
    write_jsonl(folder / "validation.jsonl", gold()[::3])
    evaluate, seen = lora.evaluate, []

    def told(training, step):
        seen.append({name: weight.detach().clone() for name, weight in training.trained.weights.items()})
        return dataclasses.replace(evaluate(training, step), share=shares[len(seen) - 1], loss=1.0)

    monkeypatch.setattr(lora, "evaluate", told)
    return folder, train(recipes, folder), seen


def as_saved(weights):
    return {name.replace(".default", ""): weight.tolist() for name, weight in weights.items()}


def test_the_best_weights_are_kept(recipes, job, monkeypatch):
    """Of six evaluations the third is the best; its weights are the expert's, and the log tells of all."""
    folder, said, seen = with_validation(recipes, job, monkeypatch, [0.1, 0.2, 0.9, 0.3, 0.4, 0.5], patience=0)
    assert said["best"] == {"step": 10, "share": 0.9, "loss": 1.0}
    assert (said["steps"], said["stopped_early"]) == (20, False)
    asked = {line["step"]: line["validation"] for line in log_of(folder) if "validation" in line}
    assert asked == {4: 0.1, 7: 0.2, 10: 0.9, 14: 0.3, 17: 0.4, 20: 0.5}
    assert {name: weight.tolist() for name, weight in weights_of(folder).items()} == as_saved(seen[2])


def test_training_ends_when_nothing_is_gained_any_more(recipes, job, monkeypatch, capsys):
    """Twice no better than before is enough for a patience of two; as many right answers, no more surely, is no gain."""
    folder, said, _ = with_validation(recipes, job, monkeypatch, [0.1, 0.5, 0.5, 0.4], patience=2)
    assert (said["steps"], said["stopped_early"], said["best"]["step"]) == (14, True, 7)
    assert "no gain in 2 evaluations: training ends after step 14" in capsys.readouterr().out
    last = (folder / "stages" / "train" / "progress.jsonl").read_text().splitlines()[-1]
    assert (json.loads(last)["done"], json.loads(last)["total"]) == (14, 14)


def test_validation_is_right_where_greedy_decoding_would_be(recipes, job):
    """The share of the last evaluation is the share of the answers that the expert writes out to the end."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = job(validation="validation.jsonl", evaluations=2, epochs=40, patience=0, r=32, alpha=64)
    write_jsonl(folder / "validation.jsonl", gold()[::3])
    said = train(recipes, folder)
    tokenizer = AutoTokenizer.from_pretrained(folder / "expert")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(said["base"]), folder / "expert").eval()
    right = 0
    for record in gold()[::3]:
        prompt = recipes["chat"].prompt_of(tokenizer, record.instruction, "")
        tokens = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        written = model.generate(tokens, do_sample=False, max_new_tokens=12, eos_token_id=said["stop_token_id"])
        right += tokenizer.decode(written[0, tokens.shape[1] :], skip_special_tokens=True).strip() == record.output
    assert said["best"]["share"] == right / 8
    assert 0 < right, "a training that learned nothing would prove nothing"


# -- what it tells -----------------------------------------------------------------------------------------------------


def test_progress_tells_all_that_is_shown_beside_the_bar(recipes, job):
    """Loss, speed, time left, the most memory so far, and validation from its first evaluation on."""
    folder = job(validation="validation.jsonl", evaluations=2, epochs=2)
    write_jsonl(folder / "validation.jsonl", gold()[::3])
    said = train(recipes, folder)
    lines = [json.loads(line) for line in (folder / "stages" / "train" / "progress.jsonl").read_text().splitlines()]
    told, steps = [line["said"] for line in lines if "said" in line], [line for line in lines if "said" not in line]
    assert ">>>every 2 hours<|end|><<<" in told[0]
    first, last = steps[0], steps[-1]
    assert set(first) == {"done", "total", "loss", "tokens_per_second", "seconds_left", "memory_gb"}
    assert set(last) == {*first, "validation"}
    assert [line["done"] for line in steps] == [1, 2, 3, 4]
    assert (last["seconds_left"], last["loss"]) == (0, round(said["loss"], 4))
    assert last["tokens_per_second"] == pytest.approx(said["tokens"] / said["training_seconds"], abs=0.1)
    assert 0.1 < last["memory_gb"] < 10


def test_training_args_hold_every_setting_and_what_came_of_it(recipes, job):
    """Settings left open are recorded as what they came to; libraries by version."""
    folder = job(epochs=1, seed=7, system="Deck.")
    said = train(recipes, folder)
    settings = json.loads((folder / "stages" / "train" / "job.json").read_bytes())
    assert set(settings) <= set(said)
    open_ = {"precision", "packing"}
    assert {name: said[name] for name in settings.keys() - open_} == {
        name: value for name, value in settings.items() if name not in open_
    }
    assert (said["precision"], said["steps"], said["processes"], said["device"]) == ("fp32", 3, 1, "cpu")
    assert isinstance(said["packing"], bool)
    assert said["shares"] == {"gold": 1.0}
    assert set(said["versions"]) == {"torch", "transformers", "peft", "accelerate"}
    assert (folder / "expert" / "loss.svg").read_text().startswith("<svg")


@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
def test_dropout_of_a_base_is_drawn_by_the_step(recipes, job, tmp_path):
    """Two runs of GPT-2, which drops a tenth, are one, whatever was drawn before."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tokenizer_of(recipes)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=128, eos_token_id=3)
    GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    losses = []
    for name in ("one", "two"):
        folder = job(name, base=str(tmp_path / "gpt2"), epochs=2)
        torch.manual_seed(len(losses))
        train(recipes, folder)
        losses.append([line["loss"] for line in log_of(folder)])
    assert losses[0] == losses[1]

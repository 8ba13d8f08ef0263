"""Two processes that train together on the CPU, as several GPUs would."""

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from deck import gold
from tiny import settings_of

from text2expert.errors import InputError, RunnerError
from text2expert.records import Job, Stage, write_jsonl
from text2expert.runners import local
from text2expert.runners.local import Local
from text2expert.trainer import CHAT_TEMPLATE

# PEFT reads an attribute of transformers that was renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

STAGE = Stage(name="train", argv=("lora.py", "stages/train/job.json"), outputs=("expert",))


def job_in(recipes, base, folder, **more):
    """A job of one training in *folder*: seven rows in steps of two, so that every fourth step has a single row."""
    (folder / "stages" / "train").mkdir(parents=True)
    write_jsonl(folder / "gold.jsonl", gold()[1:24:3][:7])
    write_jsonl(folder / "validation.jsonl", gold()[::3])
    settings = settings_of(
        recipes,
        **{
            "base": str(base), "gold": "gold.jsonl", "validation": "validation.jsonl", "evaluations": 4, "patience": 0,
            "default_chat_template": CHAT_TEMPLATE, "epochs": 40, "batch_size": 2, "learning_rate": 2e-3, **more,
        },
    )  # fmt: skip
    (folder / "stages" / "train" / "job.json").write_text(json.dumps(dataclasses.asdict(settings)))
    return Job(id="job", folder=str(folder), stages=(STAGE,))


def log_of(folder):
    path = folder / "stages" / "train" / "training_log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def launched(folder):
    """Processes that train in *folder*, launcher and runner not counted."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            trains = any(word.endswith(b"lora.py") for word in words) and b"accelerate.commands.launch" not in words
            if trains and os.readlink(path / "cwd") == str(folder.resolve()):
                found.append(int(path.name))
    return found


def wait_until(condition, seconds=300.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.02)


def test_two_processes_train_what_one_does_also_when_they_are_killed(recipes, base, tmp_path):
    """Their runner is killed, which ends both; run again they go on, to the losses and the weights of one process."""
    from safetensors.torch import load_file

    alone, together = tmp_path / "alone", tmp_path / "together"
    job_in(recipes, base, alone)
    with contextlib.chdir(alone):
        recipes["lora"].main("stages/train/job.json")
    job = job_in(recipes, base, together, checkpoint_seconds=0.0)
    code = f"""
        import asyncio
        from text2expert.records import Job, Needs, Stage
        from text2expert.runners.local import Local
        asyncio.run(Local(processes=2, threads=1).run({job!r}))
    """
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    wait_until(lambda: len(log_of(together)) > 10 or runner.poll() is not None)
    assert len(launched(together)) == 2
    runner.send_signal(signal.SIGKILL)
    runner.wait()
    wait_until(lambda: not launched(together))
    reached = len(log_of(together))
    assert reached < 160, "it was done before it could be killed"

    asyncio.run(Local(processes=2, threads=1).run(job))
    said = json.loads((together / "expert" / "training_args.json").read_bytes())
    assert said["processes"] == 2
    assert "going on after step" in (together / "stages" / "train" / "log.txt").read_text()
    names = ("step", "epoch", "tokens", "learning_rate")
    assert [[line[name] for name in names] for line in log_of(together)] == [
        [line[name] for name in names] for line in log_of(alone)
    ]
    assert {line["tokens"] for line in log_of(alone)} == {25, 50}, "no step has less rows than there are processes"
    assert [line["loss"] for line in log_of(together)] == pytest.approx(
        [line["loss"] for line in log_of(alone)], abs=1e-3
    )
    shares = [[line["validation"] for line in log_of(folder) if "validation" in line] for folder in (alone, together)]
    assert shares[0] == shares[1]
    one, two = (load_file(folder / "expert" / "adapter_model.safetensors") for folder in (alone, together))
    assert one.keys() == two.keys()
    assert all((one[name] - two[name]).norm() < 0.01 * one[name].norm() for name in one)
    assert not list((together / "stages" / "train").glob("checkpoint-*"))


def test_why_several_processes_failed_is_not_hidden_by_their_launcher(tmp_path, monkeypatch):
    """What a recipe says is in the message; the launcher's own forty lines are not."""
    monkeypatch.setattr(local, "RECIPES", tmp_path)
    (tmp_path / "lora.py").write_text("import sys; sys.exit('choose a smaller learning_rate')")
    (tmp_path / "stages" / "train").mkdir(parents=True)
    with pytest.raises(RunnerError, match="choose a smaller learning_rate") as caught:
        asyncio.run(Local(processes=2, threads=1).run(Job(id="job", folder=str(tmp_path), stages=(STAGE,))))
    assert "ChildFailedError" not in str(caught.value)
    assert str(caught.value).endswith("run again to go on")


@pytest.mark.parametrize("processes", [0, -1, 1.5, True, None, "2"])
def test_wrong_numbers_of_processes_are_refused(processes):
    """The message names the argument and its value."""
    with pytest.raises(InputError, match=f"processes must be a whole number from 1.*got {processes!r}"):
        Local(processes=processes)

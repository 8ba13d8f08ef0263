"""The page on runners: its runner of one's own runs as it stands."""

import ast
import asyncio
import re
from pathlib import Path

import boxes
import pytest

from text2expert import Pipeline, RunnerError
from text2expert.runners import local

PAGE = Path(__file__).parent.parent / "docs" / "runners.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

SRUN = """#!/bin/sh
echo "$@" >> "$SRUN_CALLS"
env > "$SRUN_CALLS.env"
while case "$1" in --chdir=*) cd "${1#--chdir=}" ;; --*) ;; *) false ;; esac; do shift; done
exec "$@"
"""
"""A stand-in for Slurm's command: it runs what it is told to, here."""


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the page's last block defines, with a stand-in for srun and recipes that need no torch."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("SRUN_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(local, "RECIPES", boxes.RECIPES)
    found: dict[str, object] = {}
    exec(compile(BLOCKS[-1], "runners.md", "exec"), found)
    return found


def test_the_first_block_runs():
    exec(compile(BLOCKS[0], "runners.md", "exec"), {})


def test_a_runner_takes_less_than_forty_lines():
    (runner,) = [node for node in ast.parse(BLOCKS[-1]).body if isinstance(node, ast.ClassDef)]
    assert runner.end_lineno - runner.lineno + 1 < 40


def test_it_runs_a_job_once_and_hands_on_no_key(names, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-one")
    job = boxes.job_in(tmp_path / "job", steps=2, seconds=0.01)
    runner = names["Slurm"]("--gres=gpu:1")
    asyncio.run(runner.run(job))
    assert local.is_done(tmp_path / "job", job.stages[0])
    assert (tmp_path / "job" / "expert" / "adapter_config.json").is_file()
    asyncio.run(runner.run(job))
    (only,) = (tmp_path / "calls").read_text().splitlines()
    assert only.startswith("--gres=gpu:1 --chdir=")
    assert "secret-one" not in (tmp_path / "calls.env").read_text()


def test_it_says_how_a_stage_failed(names, tmp_path):
    job = boxes.job_in(tmp_path / "job")
    (tmp_path / "job" / "stages" / "train" / "job.json").write_text("{}")
    with pytest.raises(RunnerError, match=r"(?s)'train' ended with exit code 1.*KeyError"):
        asyncio.run(names["Slurm"]().run(job))


def test_a_trainer_takes_it_and_a_plan_names_it(names, pumps):
    plan = Pipeline(trainer=names["trainer"]).plan(pumps)
    assert ("the cluster",) == plan.hosts

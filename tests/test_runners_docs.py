"""The pages on runners: the runner of one's own runs as it stands."""

import ast
import asyncio
import re
from pathlib import Path

import boxes
import pytest
from click.testing import CliRunner
from vast_server import VastServer

from text2expert import Pipeline, RunnerError, Trainer
from text2expert.cli import main
from text2expert.planning import CHARACTERS_PER_PAIR
from text2expert.runners import local
from text2expert.runners.vast import offers
from text2expert.trainer import CLOUD_BASE

DOCS = Path(__file__).parent.parent / "docs"
BLOCKS = [
    block
    for page in ("runners.md", "writing/runner.md")
    for block in re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)
]

SRUN = """#!/bin/sh
echo "$@" >> "$SRUN_CALLS"
env > "$SRUN_CALLS.env"
while case "$1" in --chdir=*) cd "${1#--chdir=}" ;; --*) ;; *) false ;; esac; do shift; done
exec "$@"
"""
"""A stand-in for Slurm's command: it runs what it is told to, here."""


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the last block defines, with a stand-in for srun and recipes that need no torch."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("SRUN_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr(local, "RECIPES", boxes.RECIPES)
    found: dict[str, object] = {}
    exec(compile(BLOCKS[-1], "runner.md", "exec"), found)
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


RENTING = (DOCS / "renting.md").read_text("utf-8")

JOBS = {"900 pairs, one wording each": (900, 1), "1,000 questions in three wordings": (1000, 3)}
JOBS["2,000 questions in three wordings"] = (2000, 3)


def test_the_page_on_renting_shows_what_there_is():
    """Its code, its commands with their flags, and the tests that it names."""
    for block in re.findall(r"```python\n(.*?)```", RENTING, re.DOTALL):
        exec(compile(block, "renting.md", "exec"), {})
    commands = re.findall(r"^    text2expert ((?:vast )?\w+)(.*?)(?:  #.*)?$", RENTING, re.MULTILINE)
    assert ["vast offers", "run", "vast sweep"] == [command for command, _ in commands]
    for command, options in commands:
        shown = CliRunner().invoke(main, [*command.split(), "--help"]).output
        assert [flag for flag in re.findall(r"--[a-z-]+", options) if flag not in shown] == []
    named = set(re.findall(r"`(test_\w+\.py)`", RENTING))
    assert [name for name in named if not (Path(__file__).parent / name).is_file()] == []


def test_its_table_of_costs_is_what_the_code_calculates():
    """Whoever changes a formula writes the table anew: dollars at four prices, and minutes."""
    prices = [
        float(price) for price in re.findall(r"\$(\d\.\d+)", re.search(r"^\| dataset .*$", RENTING, re.MULTILINE)[0])
    ]
    assert prices == [0.31, 0.45, 0.7, 0.875]
    trainer = Trainer(CLOUD_BASE)
    for name, (questions, wordings) in JOBS.items():
        pairs = questions * wordings
        training = trainer.estimate(records=pairs, characters=pairs * CHARACTERS_PER_PAIR, facts=questions)
        expected = [name, f"{training.tokens / 1e6:.1f} million"]
        for price in prices:
            offer = {
                **VastServer._offer(1), "dph_total": price, "inet_down_cost": 0.003, "inet_up_cost": 0.003,
            }  # fmt: skip
            (ranked,) = offers.rank([offer], trainer.quoted(training).needs)
            if price == prices[0]:
                expected.append(f"{ranked.hours * 60:.0f} min")
            expected.append(f"${ranked.usd:.2f}")
        assert f"| {' | '.join(expected)} |" in RENTING

"""The command line: it talks, the library works."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

import text2expert
from text2expert import doctor
from text2expert.cli import main

PUMPS = """1. LIMITS

1.1 The oil temperature must not exceed 80 °C.
1.2 If the suction pressure falls below 2 bar, stop the pump and call the shift engineer.

2. CARE

2.1 The bearings are greased every 6 weeks.
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pumps.txt").write_text(PUMPS, encoding="utf-8")
    (tmp_path / "fans.txt").write_text(PUMPS.replace("pump", "fan").replace("80", "60"), encoding="utf-8")
    return tmp_path


def _call(*arguments, code=0):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("command", ["plan", "run", "ask", "merge", "doctor"])
def test_every_command_has_a_help_page(command):
    assert "Usage:" in _call(command, "--help").output


def test_the_first_help_page_cuts_no_sentence(monkeypatch):
    """It is what a newcomer reads first, mostly at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    shown = _call("--help").output
    assert "..." not in shown.partition("Commands:")[2]
    assert max(map(len, shown.splitlines())) <= 80


def test_the_flags_of_the_users_guide_are_there():
    shown = _call("run", "--help").output
    flags = (
        "--input", "--questions-per-chunk", "--no-fine-tune", "--out", "--chunk-size", "--chunk-overlap", "--base",
        "--epochs", "--max-steps", "--seed", "--yes", "--gold", "--exam",
    )  # fmt: skip
    assert [flag for flag in flags if flag not in shown] == []


def test_python_dash_m_is_the_same_command():
    shown = subprocess.run(
        [sys.executable, "-m", "text2expert", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == f"text2expert, version {text2expert.__version__}"


def test_a_plan_without_training_is_of_a_run_without_training(here):
    """What one says the other takes, and the plan's own advice names the flag."""
    shown = _call("plan", "-i", "pumps.txt", "--preset", "cloud", "--no-fine-tune").output
    assert "none: it stops when the golden dataset is there" in shown
    assert "RTX 4090" not in shown
    assert "exam writer" not in shown


def test_plan_says_what_would_be_and_writes_nothing(here):
    shown = _call("plan", "--input", "pumps.txt").output
    assert "expert_model_pumps" in shown
    assert "$0.00" in shown
    assert sorted(path.name for path in here.iterdir()) == ["fans.txt", "pumps.txt"]


def test_run_takes_several_inputs_after_one_flag(here):
    _call("run", "--input", "pumps.txt", "fans.txt", "--out", "both", "--no-fine-tune")
    receipt = json.loads((here / "both" / "run.json").read_text("utf-8"))
    assert [document["id"] for document in receipt["documents"]] == ["pumps", "fans"]


def test_chunk_settings_reach_the_chunker(here):
    _call("run", "-i", "pumps.txt", "--chunk-size", "60", "--chunk-overlap", "10", "--no-fine-tune")
    receipt = json.loads((here / "expert_model_pumps" / "run.json").read_text("utf-8"))
    assert receipt["settings"]["chunker"]["size"] == 60


def test_merge_and_what_it_writes_for_training(here):
    _call("run", "-i", "pumps.txt", "--no-fine-tune")
    _call("run", "-i", "fans.txt", "--no-fine-tune")
    shown = _call("merge", "expert_model_pumps", "expert_model_fans", "--out", "combined.jsonl").output
    assert "run --gold combined.jsonl" in shown
    _call("run", "--gold", "combined.jsonl", "--no-fine-tune")
    receipt = json.loads((here / "expert_model_combined" / "run.json").read_text("utf-8"))
    assert receipt["counts"]["gold"] == len((here / "combined.jsonl").read_text("utf-8").splitlines())
    assert (here / "expert_model_combined" / "source" / "fans.txt").read_text("utf-8") == (here / "fans.txt").read_text(
        "utf-8"
    )


def test_concatenated_datasets_train_as_in_the_guide(here):
    """``cat expert_model_*/golden_dataset.jsonl > combined.jsonl``."""
    parts = []
    for name in ("pumps", "fans"):
        _call("run", "-i", f"{name}.txt", "--no-fine-tune")
        parts.append((here / f"expert_model_{name}" / "golden_dataset.jsonl").read_text("utf-8"))
    (here / "combined.jsonl").write_text("".join(parts), encoding="utf-8")
    result = _call("run", "--gold", "combined.jsonl", "--no-fine-tune")
    assert "no exam beside it" in result.output
    gold = (here / "expert_model_combined" / "golden_dataset.jsonl").read_text("utf-8").splitlines()
    ids = [json.loads(line)["qa_id"] for line in gold]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run",), "no input"),
        (("run", "-i", "nowhere.txt"), "nowhere.txt"),
        (("run", "-i", "pumps.txt", "--chunk-size", "100", "--chunk-overlap", "100"), "overlap"),
        (("run", "-i", "pumps.txt", "--chunk-size", "-5"), "size"),
        (("run", "-i", "pumps.txt", "--epochs", "nan"), "epochs"),
        (("run", "-i", "pumps.txt", "--max-steps", "0"), "max_steps"),
        (("run", "-i", "pumps.txt", "--seed", "-1"), "seed"),
        (("run", "-i", "pumps.txt", "--questions-per-chunk", "0"), "questions_per_chunk"),
        (("run", "-i", "pumps.txt", "--base", "./nowhere"), "nowhere"),
        (("run", "-i", "pumps.txt", "--gold", "x.jsonl"), "--gold"),
        (("run", "--gold", "missing.jsonl"), "missing.jsonl"),
        (("run", "-i", "pumps.txt", "--exam", "missing.jsonl"), "missing.jsonl"),
        (("ask", "pumps.txt", "Why?"), "pumps.txt"),
        (("ask", "nowhere", "Why?"), "nowhere"),
        (("merge", "nowhere", "--out", "c.jsonl"), "nowhere"),
    ],
)  # fmt: skip
def test_an_error_is_one_clear_line_and_leaves_nothing_behind(here, arguments, expected):
    result = _call(*arguments, code=1)
    assert expected in result.stderr
    assert result.stderr.startswith("text2expert: ")
    assert "Traceback" not in result.output
    assert sorted(path.name for path in here.iterdir()) == ["fans.txt", "pumps.txt"]


def test_doctor_names_keys_and_never_shows_them(monkeypatch):
    monkeypatch.setenv("DEEPSEEK_API_KEY", "sk-very-secret")
    shown = _call("doctor").output
    assert "sk-very-secret" not in shown
    (line,) = [line for line in shown.splitlines() if "DEEPSEEK_API_KEY" in line]
    assert " set " in line
    (line,) = [line for line in shown.splitlines() if "ANTHROPIC_API_KEY" in line]
    assert "not set" in line


def test_doctor_says_what_is_missing_for_what(monkeypatch):
    monkeypatch.setitem(doctor.EXTRAS, "train", ("torch", "a-package-that-does-not-exist"))
    shown = doctor.report()
    assert "a-package-that-does-not-exist" in shown
    assert 'pip install "text2expert[train]"' in shown


def test_doctor_knows_the_extras_of_the_package():
    from importlib import metadata

    declared = {
        extra for extra in metadata.metadata("text2expert").get_all("Provides-Extra") if extra not in ("dev", "docs")
    }
    assert declared == set(doctor.EXTRAS)


def test_asking_a_run_without_training_says_why_there_is_no_expert(here):
    _call("run", "-i", "pumps.txt", "--no-fine-tune")
    shown = _call("ask", "expert_model_pumps", "Why?", code=1).stderr
    assert "text2expert: expert_model_pumps holds no expert: it was run with" in shown
    assert "--no-fine-tune" in shown

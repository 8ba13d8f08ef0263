"""A run folder over time: run again, edited, changed, stopped, killed, locked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import psutil
import pytest
from pumps import PUMPS, QUICK, derived_bytes, gold_only

from text2expert import Document, Expert, Pipeline, Run, RunFolderError, RunFolderLockedError, Trainer
from text2expert.records import Chunk, ExamQuestion, read_jsonl
from text2expert.runfolder import RunFolder


def test_the_same_run_again_trains_nothing_again(finished, capsys):
    before = (finished.folder / "expert" / "adapter_model.safetensors").stat().st_mtime_ns
    started = time.process_time()
    again = Pipeline(trainer=QUICK).run(Document.from_text(PUMPS, id="pumps"), out=finished.folder)
    assert (finished.folder / "expert" / "adapter_model.safetensors").stat().st_mtime_ns == before
    assert again.receipt["files"] == finished.receipt["files"]
    assert time.process_time() - started < 5


def test_a_moved_run_folder_still_answers(finished, tmp_path):
    question = "What must the oil temperature not exceed?"
    moved = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", finished.folder, moved], check=True)
    with Expert.load(moved) as expert:
        assert expert.ask(question).text == finished.expert.ask(question).text


def test_an_edited_text_makes_only_what_it_touches_again(pumps, tmp_path):
    """Keys of the chunks of the other sections stay, so that only that section would be paid for."""
    out = tmp_path / "run"
    gold_only(pumps, out)
    before = {chunk.key for chunk in read_jsonl(out / "chunks.jsonl", Chunk)}
    pumps.write_text(PUMPS.replace("6 weeks", "8 weeks"), encoding="utf-8")
    gold_only(pumps, out)
    after = list(read_jsonl(out / "chunks.jsonl", Chunk))
    assert [chunk.key in before for chunk in after].count(False) == 1
    assert "8 weeks" in (out / "golden_dataset.jsonl").read_text("utf-8")


def test_settings_may_change_between_runs(pumps, tmp_path):
    out = tmp_path / "run"
    many = gold_only(pumps, out)
    few = gold_only(pumps, out, questions_per_chunk=1)
    assert few.receipt["counts"]["items"] < many.receipt["counts"]["items"]
    again = gold_only(pumps, out)
    assert again.receipt["files"] == many.receipt["files"]


def test_a_golden_dataset_edited_by_hand_is_kept_and_used(pumps, tmp_path):
    out = tmp_path / "run"
    gold_only(pumps, out)
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}\n')
    run = gold_only(pumps, out)
    assert "Who repairs the gauge?" in set(run.gold["instruction"])


def test_an_exam_question_that_is_trained_on_by_hand_counts_as_taught(pumps, tmp_path):
    out = tmp_path / "run"
    gold_only(pumps, out)
    unseen = next(each for each in read_jsonl(out / "exam.jsonl", ExamQuestion) if each.row == "held_out")
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"instruction": unseen.question, "output": unseen.answer}) + "\n")
    gold_only(pumps, out)
    rows = {each.id: each.row for each in read_jsonl(out / "exam.jsonl", ExamQuestion)}
    assert rows[unseen.id] == "taught"


def test_an_edited_dataset_is_set_aside_when_the_text_changes(pumps, tmp_path):
    out = tmp_path / "run"
    gold_only(pumps, out)
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}\n')
    pumps.write_text(PUMPS.replace("6 weeks", "8 weeks"), encoding="utf-8")
    run = gold_only(pumps, out)
    assert "Who repairs the gauge?" not in set(run.gold["instruction"])
    assert "Who repairs the gauge?" in (out / "golden_dataset.edited.jsonl").read_text("utf-8")


def test_every_backup_of_an_edited_dataset_is_kept(pumps, tmp_path):
    out = tmp_path / "run"
    gold_only(pumps, out)
    for seed, who in ((1, "Ada"), (2, "Bob")):
        with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"instruction": f"Who is {who}?", "output": f"{who} is the fitter."}) + "\n")
        gold_only(pumps, out, seed=seed)
    backups = [path.read_text("utf-8") for path in sorted(out.glob("golden_dataset.edited*.jsonl"))]
    assert ["Ada" in backup for backup in backups].count(True) == 1
    assert ["Bob" in backup for backup in backups].count(True) == 1


def test_killed_while_the_dataset_is_written_nothing_is_taken_for_an_edit(pumps, tmp_path, monkeypatch):
    out = tmp_path / "run"
    clean = gold_only(pumps, out)

    def killed(*_):
        raise TimeoutError

    with monkeypatch.context() as patch:
        record = RunFolder.record
        patch.setattr(
            RunFolder,
            "record",
            lambda self, name, made, **notes: killed() if "gold" in name else record(self, name, made, **notes),
        )
        with pytest.raises(TimeoutError):
            gold_only(pumps, out, seed=3)
    again = gold_only(pumps, out)
    assert again.receipt["files"] == clean.receipt["files"]
    assert list(out.glob("*.edited*")) == []


def test_the_receipt_says_what_was_changed_by_hand(pumps, tmp_path):
    out = tmp_path / "run"
    gold_only(pumps, out)
    lines = (out / "golden_dataset.jsonl").read_text("utf-8").splitlines()[2:]
    lines.append('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}')
    (out / "golden_dataset.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts = gold_only(pumps, out).receipt["counts"]
    assert (counts["added_by_hand"], counts["removed_by_hand"]) == (1, 2)


def test_a_run_without_training_does_not_show_an_earlier_exam(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished.folder, copy)
    run = Pipeline(seed=4).run(finished.folder.parent / "pumps.txt", out=copy, fine_tune=False)
    assert run.exam is None
    assert "taught wordings" not in str(run)
    assert "of an earlier run" in str(run)
    assert "exam_result.json" not in run.receipt["files"]


@pytest.mark.parametrize("damage", ["{}", "not json", '{"files": 3}', None])
def test_a_damaged_or_lost_state_costs_work_and_nothing_else(pumps, tmp_path, damage):
    run = gold_only(pumps, tmp_path / "run")
    state = run.folder / "state.json"
    state.unlink() if damage is None else state.write_text(damage)
    assert gold_only(pumps, run.folder).receipt["files"] == run.receipt["files"]


LONG_RUN = """
import sys
from text2expert import Pipeline, Trainer
Pipeline(trainer=Trainer(max_steps=40)).run(sys.argv[1], out=sys.argv[2])
"""


def _start(pumps, out):
    command = [sys.executable, "-c", LONG_RUN, str(pumps), str(out)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def _wait_for(path, process, seconds=300):
    for _ in range(int(seconds / 0.05)):
        if path.exists():
            return
        assert process.poll() is None, f"it ended before {path.name} was there"
        time.sleep(0.05)
    pytest.fail(f"{path} did not appear")


def test_killed_and_killed_again_it_goes_on_where_it_was(finished, pumps, tmp_path):
    """kill -9 while the base is made, then while the adapter is trained; the third call ends it."""
    out = tmp_path / "run"
    for stage in ("base", "train"):
        process = _start(pumps, out)
        _wait_for(out / "stages" / stage / "progress.jsonl", process)
        process.kill()
        process.wait()
        with pytest.raises(RunFolderError, match="not finished"):
            Run.load(out)
    kept = {
        path: path.stat().st_mtime_ns for path in (out / "golden_dataset.jsonl", out / "base" / "model.safetensors")
    }
    run = Pipeline(trainer=Trainer(max_steps=40)).run(pumps, out=out)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert run.exam is not None
    assert derived_bytes(out) == derived_bytes(finished.folder)
    weights = [folder / "base" / "model.safetensors" for folder in (out, finished.folder)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def _recipes(out):
    """The commands of the processes that work in *out*."""
    found = psutil.process_iter(["cwd", "cmdline"])
    return [" ".join(each.info["cmdline"]) for each in found if each.info["cwd"] == str(out)]


def test_ctrl_c_ends_the_training_process_too(finished, pumps, tmp_path):
    """Of a run that has its base already."""
    out = tmp_path / "run"
    shutil.copytree(finished.folder, out)
    progress = out / "stages" / "train" / "progress.jsonl"
    progress.unlink()
    process = _start(pumps, out)
    _wait_for(progress, process)
    assert ["lora.py" in each for each in _recipes(out)] == [True]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    assert _recipes(out) == []


def test_a_second_process_on_the_same_folder_is_told_who_is_there(pumps, tmp_path):
    out = tmp_path / "run"
    process = _start(pumps, out)
    try:
        _wait_for(out / "stages" / "base" / "progress.jsonl", process)
        with pytest.raises(RunFolderLockedError, match=f"pid {process.pid} on host"):
            gold_only(pumps, out)
    finally:
        process.kill()
        process.wait()


def test_a_full_disk_is_named_and_a_rerun_goes_on(pumps, tmp_path):
    """A limit on file size stands in for the disk: both end a write in the middle."""
    code = textwrap.dedent(
        """
        import resource, signal, sys
        from text2expert import Pipeline, RunFolderError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            Pipeline().run(sys.argv[1], out=sys.argv[2], fine_tune=False)
        except RunFolderError as error:
            sys.exit(str(error))
        """
    )
    out = tmp_path / "run"
    stopped = subprocess.run(
        [sys.executable, "-c", code, str(pumps), str(out)], capture_output=True, text=True, check=False
    )
    assert stopped.returncode == 1
    assert "cannot write" in stopped.stderr
    assert not [path for path in out.iterdir() if path.suffix == ".tmp"]
    assert gold_only(pumps, out).receipt["counts"]["gold"] > 0

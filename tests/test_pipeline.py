"""The whole path for real, on texts small enough for a test: run, stop, kill, resume, change, break."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import attrs
import nbclient
import nbformat
import pytest

from text2expert import (
    Document,
    EvidenceVerifier,
    Expert,
    InputError,
    NothingTaughtError,
    Pipeline,
    RuleTeacher,
    Run,
    RunFolderError,
    RunFolderLockedError,
    Trainer,
)
from text2expert.receipt import settings
from text2expert.records import Chunk, ExamQuestion, GoldRecord, QAPair, Span, Verdict, read_jsonl
from text2expert.run import RunFolder

PUMPS = """1. PURPOSE

1.1 This procedure applies to every pump with a motor of 5 kW or more.

2. LIMITS

2.1 The oil temperature must not exceed 80 °C.
2.2 If the suction pressure falls below 2 bar, stop the pump and call the shift engineer.
2.3 "Cold start" means a start after more than 12 hours of rest.

3. CARE

3.1 The bearings are greased every 6 weeks.
3.2 The filter is replaced within 3 days of an alarm.
"""
QUICK = Trainer(max_steps=6)
DERIVED = (
    "chunks.jsonl",
    "generated_qa_pairs.jsonl",
    "verdicts.jsonl",
    "golden_dataset.jsonl",
    "exam.jsonl",
    "rejected.jsonl",
)


@pytest.fixture
def pumps(tmp_path):
    path = tmp_path / "pumps.txt"
    path.write_text(PUMPS, encoding="utf-8")
    return path


def _bytes(folder, names=DERIVED):
    return {name: (folder / name).read_bytes() for name in names}


def _gold_only(source, out, **settings):
    return Pipeline(**settings).run(source, out=out, fine_tune=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run with a barely trained expert, shared by the tests that only look at it."""
    folder = tmp_path_factory.mktemp("trained")
    source = folder / "pumps.txt"
    source.write_text(PUMPS, encoding="utf-8")
    return Pipeline(trainer=QUICK).run(source, out=folder / "run")


def test_the_run_folder_holds_what_was_promised(trained):
    names = {path.name for path in trained.folder.iterdir()}
    assert {*DERIVED, "base", "expert", "exam_result.json", "run.json", "source"} <= names
    assert {"adapter_model.safetensors", "adapter_config.json", "training_args.json", "model_config.json"} <= {
        path.name for path in (trained.folder / "expert").iterdir()
    }


def test_the_run_folder_is_for_its_owner_alone(trained):
    assert oct(trained.folder.stat().st_mode & 0o777) == "0o700"


def test_every_gold_answer_can_be_traced_to_its_place_in_the_source(trained):
    source = (trained.folder / "source" / "pumps.txt").read_text("utf-8")
    records = list(read_jsonl(trained.folder / "golden_dataset.jsonl", GoldRecord))
    verdicts = {verdict.qa_id: verdict for verdict in read_jsonl(trained.folder / "verdicts.jsonl", Verdict)}
    assert records
    for record in records:
        assert record.evidence
        assert all(source[span.start : span.end] == span.text for span in record.evidence)
        assert verdicts[record.qa_id].approved
        assert record.status == "evidence"


def test_counts_add_up(trained):
    counts = trained.receipt["counts"]
    parts = ("duplicates", "rejected", "unverified", "exam", "gold")
    assert counts["parsed"] == sum(counts[part] for part in parts)
    assert counts["parsed"] == len(list(read_jsonl(trained.folder / "generated_qa_pairs.jsonl", QAPair)))
    assert counts["gold"] == len(list(read_jsonl(trained.folder / "golden_dataset.jsonl", GoldRecord)))


def test_no_exam_wording_is_trained_on(trained):
    trained_on = {record.instruction for record in read_jsonl(trained.folder / "golden_dataset.jsonl", GoldRecord)}
    asked = {each.question for each in read_jsonl(trained.folder / "exam.jsonl", ExamQuestion) if each.row != "taught"}
    assert asked
    assert not asked & trained_on


def test_the_expert_answers(trained):
    answer = trained.expert.ask("How often are the bearings greased?")
    assert isinstance(answer.text, str)
    assert 0 <= answer.confidence <= 1


def test_a_finished_run_loads_again(trained):
    again = Run.load(trained.folder)
    assert again.receipt == trained.receipt
    assert again.exam == trained.exam
    assert {score.contestant for score in again.exam.scores} == {"base", "lookup", "expert"}


def test_gold_and_rejected_are_data_frames(trained):
    assert list(trained.gold.columns[:3]) == ["instruction", "input", "output"]
    assert len(trained.gold) == trained.receipt["counts"]["gold"]
    assert "reason" in trained.rejected.columns or len(trained.rejected) == 0


def test_a_run_shows_itself_with_its_table_its_warning_and_what_to_do_next(trained):
    shown = str(trained)
    assert "taught wordings" in shown
    assert "toy" in shown
    assert f"text2expert ask {trained.folder}" in shown
    assert "<script" not in trained._repr_html_()


def test_the_same_run_again_trains_nothing_again(trained, capsys):
    before = (trained.folder / "expert" / "adapter_model.safetensors").stat().st_mtime_ns
    started = time.process_time()
    again = Pipeline(trainer=QUICK).run(Document.from_text(PUMPS, id="pumps"), out=trained.folder)
    assert (trained.folder / "expert" / "adapter_model.safetensors").stat().st_mtime_ns == before
    assert again.receipt["files"] == trained.receipt["files"]
    assert time.process_time() - started < 5


def test_a_moved_run_folder_still_answers(trained, tmp_path):
    question = "What must the oil temperature not exceed?"
    moved = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", trained.folder, moved], check=True)
    with Expert.load(moved) as expert:
        assert expert.ask(question).text == trained.expert.ask(question).text


def test_equal_inputs_and_seed_give_equal_bytes(pumps, tmp_path):
    """Promise 10, in two processes with different hash seeds."""
    code = (
        "import sys; from text2expert import Pipeline; "
        "Pipeline(seed=3).run(sys.argv[1], out=sys.argv[2], fine_tune=False)"
    )
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", code, str(pumps), str(tmp_path / hash_seed)]
        subprocess.run(command, env=environment, check=True, capture_output=True)
    assert _bytes(tmp_path / "1") == _bytes(tmp_path / "2")


def test_an_edited_text_makes_only_what_it_touches_again(pumps, tmp_path):
    """Keys of the chunks of the other sections stay, so that only that section would be paid for."""
    out = tmp_path / "run"
    _gold_only(pumps, out)
    before = {chunk.key for chunk in read_jsonl(out / "chunks.jsonl", Chunk)}
    pumps.write_text(PUMPS.replace("6 weeks", "8 weeks"), encoding="utf-8")
    _gold_only(pumps, out)
    after = list(read_jsonl(out / "chunks.jsonl", Chunk))
    assert [chunk.key in before for chunk in after].count(False) == 1
    assert "8 weeks" in (out / "golden_dataset.jsonl").read_text("utf-8")


def test_settings_may_change_between_runs(pumps, tmp_path):
    out = tmp_path / "run"
    many = _gold_only(pumps, out)
    few = _gold_only(pumps, out, questions_per_chunk=1)
    assert few.receipt["counts"]["items"] < many.receipt["counts"]["items"]
    again = _gold_only(pumps, out)
    assert again.receipt["files"] == many.receipt["files"]


def test_a_golden_dataset_edited_by_hand_is_kept_and_used(pumps, tmp_path):
    out = tmp_path / "run"
    _gold_only(pumps, out)
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}\n')
    run = _gold_only(pumps, out)
    assert "Who repairs the gauge?" in set(run.gold["instruction"])


def test_an_exam_question_that_is_trained_on_by_hand_counts_as_taught(pumps, tmp_path):
    out = tmp_path / "run"
    _gold_only(pumps, out)
    unseen = next(each for each in read_jsonl(out / "exam.jsonl", ExamQuestion) if each.row == "held_out")
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps({"instruction": unseen.question, "output": unseen.answer}) + "\n")
    _gold_only(pumps, out)
    rows = {each.id: each.row for each in read_jsonl(out / "exam.jsonl", ExamQuestion)}
    assert rows[unseen.id] == "taught"


def test_an_edited_dataset_is_set_aside_when_the_text_changes(pumps, tmp_path):
    out = tmp_path / "run"
    _gold_only(pumps, out)
    with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
        file.write('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}\n')
    pumps.write_text(PUMPS.replace("6 weeks", "8 weeks"), encoding="utf-8")
    run = _gold_only(pumps, out)
    assert "Who repairs the gauge?" not in set(run.gold["instruction"])
    assert "Who repairs the gauge?" in (out / "golden_dataset.edited.jsonl").read_text("utf-8")


def test_a_bare_dataset_written_by_hand_trains(tmp_path):
    gold = tmp_path / "mine.jsonl"
    rows = [{"instruction": f"What is the code of door {n}?", "output": f"{n}{n}4{n}"} for n in range(8)]
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = Pipeline(trainer=QUICK).run(gold=gold, out=tmp_path / "run")
    assert run.receipt["trained"]
    assert any("no source text" in note for note in run.exam.notes)


def test_it_runs_inside_a_running_event_loop_and_as_a_coroutine(pumps, tmp_path):
    async def blocking_inside():
        return _gold_only(pumps, tmp_path / "a")

    async def awaited():
        return await Pipeline().arun(pumps, out=tmp_path / "b", fine_tune=False)

    assert asyncio.run(blocking_inside()).receipt["files"] == asyncio.run(awaited()).receipt["files"]


def test_one_pipeline_serves_many_runs(pumps, tmp_path):
    pipeline = Pipeline()
    first = pipeline.run(pumps, out=tmp_path / "a", fine_tune=False)
    second = pipeline.run(pumps, out=tmp_path / "b", fine_tune=False)
    assert first.receipt["files"] == second.receipt["files"]


def test_own_steps_take_the_places_of_ours(pumps, tmp_path):
    @attrs.frozen
    class Shy:
        """Teaches one thing, and judges it too."""

        async def ateach(self, passages, n):
            await asyncio.sleep(0)
            chunk = passages[0]
            return [
                QAPair(
                    qa_id="", question=f"What does {chunk.key[:6]} say?", answer=chunk.text[:20], sources=(chunk.id,)
                )
            ]

        async def averify(self, pairs, passages):
            return [
                Verdict(qa_id=pair.qa_id, grounded=True, no_hallucination=True, complete=True, by="me")
                for pair in pairs
            ]

    run = Pipeline(teacher=Shy(), verifier=Shy()).run(pumps, out=tmp_path / "run", fine_tune=False)
    assert set(run.gold["status"]) == {"model"}
    assert run.receipt["counts"]["parsed"] == len(list(read_jsonl(run.folder / "chunks.jsonl", Chunk)))


@attrs.frozen
class Quoting:
    """A teacher whose quotes have the places, and the wording, that the test says."""

    quote: str
    start: int

    async def ateach(self, passages, n):
        (chunk,) = passages
        if "greased" not in chunk.text:
            return []
        span = Span(document=chunk.document, start=self.start, end=self.start + 3, text=self.quote)
        return [
            QAPair(
                qa_id="x", question="How often are the bearings greased?", answer="Every 6 weeks.",
                sources=("chunk_of_another_run",), evidence=(span,),
            )
        ]  # fmt: skip


@pytest.mark.parametrize(
    "quote", ["The bearings are greased every 6 weeks.", "The  bearings are\ngreased every 6 weeks."]
)
def test_a_quote_is_looked_up_whatever_place_the_teacher_gives(pumps, tmp_path, quote):
    """Promise 4 holds for teachers of other people's too."""
    run = _gold_only(pumps, tmp_path / "run", teacher=Quoting(quote, 7))
    (record,) = read_jsonl(run.folder / "golden_dataset.jsonl", GoldRecord)
    (span,) = record.evidence
    assert PUMPS[span.start : span.end] == span.text == "The bearings are greased every 6 weeks."


def test_a_quote_that_is_nowhere_is_rejected_before_a_verifier_sees_it(pumps, tmp_path):
    class Unasked:
        async def averify(self, pairs, passages):
            raise AssertionError("it was asked")

    with pytest.raises(NothingTaughtError, match="nowhere in the passage"):
        _gold_only(pumps, tmp_path / "run", teacher=Quoting("Bearings last for ever.", 7), verifier=Unasked())


def test_without_a_quote_the_passage_is_the_evidence(pumps, tmp_path):
    class Quoteless(Quoting):
        async def ateach(self, passages, n):
            return [attrs.evolve(pair, evidence=()) for pair in await Quoting.ateach(self, passages, n)]

    run = _gold_only(pumps, tmp_path / "run", teacher=Quoteless("", 0))
    (record,) = read_jsonl(run.folder / "golden_dataset.jsonl", GoldRecord)
    (chunk,) = [chunk for chunk in read_jsonl(run.folder / "chunks.jsonl", Chunk) if "greased" in chunk.text]
    assert [span.text for span in record.evidence] == [chunk.text]


def test_a_failing_step_fails_the_run_with_its_own_error(pumps, tmp_path):
    class Broken:
        async def ateach(self, passages, n):
            raise ConnectionError("the teacher is out")

    with pytest.raises(ConnectionError, match="the teacher is out"):
        _gold_only(pumps, tmp_path / "run", teacher=Broken())
    assert not (tmp_path / "run" / "run.json").exists()
    assert _gold_only(pumps, tmp_path / "run").receipt["counts"]["gold"] > 0


def test_every_backup_of_an_edited_dataset_is_kept(pumps, tmp_path):
    out = tmp_path / "run"
    _gold_only(pumps, out)
    for seed, who in ((1, "Ada"), (2, "Bob")):
        with open(out / "golden_dataset.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps({"instruction": f"Who is {who}?", "output": f"{who} is the fitter."}) + "\n")
        _gold_only(pumps, out, seed=seed)
    backups = [path.read_text("utf-8") for path in sorted(out.glob("golden_dataset.edited*.jsonl"))]
    assert ["Ada" in backup for backup in backups].count(True) == 1
    assert ["Bob" in backup for backup in backups].count(True) == 1


def test_killed_while_the_dataset_is_written_nothing_is_taken_for_an_edit(pumps, tmp_path, monkeypatch):
    out = tmp_path / "run"
    clean = _gold_only(pumps, out)

    def killed(*_):
        raise TimeoutError

    with monkeypatch.context() as patch:
        record = RunFolder.record
        patch.setattr(
            RunFolder, "record", lambda self, name, made: killed() if "gold" in name else record(self, name, made)
        )
        with pytest.raises(TimeoutError):
            _gold_only(pumps, out, seed=3)
    again = _gold_only(pumps, out)
    assert again.receipt["files"] == clean.receipt["files"]
    assert list(out.glob("*.edited*")) == []


def test_the_receipt_says_what_was_changed_by_hand(pumps, tmp_path):
    out = tmp_path / "run"
    _gold_only(pumps, out)
    lines = (out / "golden_dataset.jsonl").read_text("utf-8").splitlines()[2:]
    lines.append('{"instruction": "Who repairs the gauge?", "output": "The instrument workshop."}')
    (out / "golden_dataset.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    counts = _gold_only(pumps, out).receipt["counts"]
    assert (counts["added_by_hand"], counts["removed_by_hand"]) == (1, 2)


def test_the_receipt_of_a_given_dataset_names_it_and_claims_no_teacher(pumps, tmp_path):
    first = _gold_only(pumps, tmp_path / "run")
    gold = first.folder / "golden_dataset.jsonl"
    run = Pipeline().run(gold=gold, out=tmp_path / "again", fine_tune=False)
    assert run.receipt["dataset"]["path"] == str(gold)
    assert run.receipt["models"]["teacher"] is None
    assert "teacher" not in run.receipt["settings"]
    assert len(run.rejected) == 0


def test_a_dataset_is_not_adopted_into_its_own_run_folder(pumps, tmp_path):
    run = _gold_only(pumps, tmp_path / "run")
    before = _bytes(run.folder)
    for gold in (run.folder, run.folder / "golden_dataset.jsonl"):
        with pytest.raises(InputError, match="without gold="):
            Pipeline().run(gold=gold, out=run.folder, fine_tune=False)
    assert _bytes(run.folder) == before


def test_a_run_without_training_does_not_show_an_earlier_exam(trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(trained.folder, copy)
    run = Pipeline(seed=4).run(trained.folder.parent / "pumps.txt", out=copy, fine_tune=False)
    assert run.exam is None
    assert "taught wordings" not in str(run)
    assert "of an earlier run" in str(run)
    assert "exam_result.json" not in run.receipt["files"]


def test_line_separators_in_a_text_do_not_part_its_records(tmp_path):
    text = PUMPS.replace(" is replaced", " is\u2028replaced").replace(" are greased", "\x85are greased")
    run = _gold_only(Document.from_text(text, id="pumps"), tmp_path / "run")
    assert len(run.gold) == run.receipt["counts"]["gold"]


@pytest.mark.parametrize("name", ["../../evil", "a/b", "x" * 300, ""])
def test_a_document_cannot_leave_the_run_folder_by_its_id(tmp_path, name):
    with pytest.raises(InputError, match="file name"):
        Document.from_text(PUMPS, id=name)
    document = attrs.evolve(Document.from_text(PUMPS), id=name)
    with pytest.raises(InputError, match="file name"):
        _gold_only(document, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["{}", "not json", '{"files": 3}', None])
def test_a_damaged_or_lost_state_costs_work_and_nothing_else(pumps, tmp_path, damage):
    run = _gold_only(pumps, tmp_path / "run")
    state = run.folder / "state.json"
    state.unlink() if damage is None else state.write_text(damage)
    assert _gold_only(pumps, run.folder).receipt["files"] == run.receipt["files"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", "x"),
        ("seed", 1.5),
        ("seed", -3),
        ("chunker", "x"),
        ("teacher", "openai/gpt"),
        ("teacher", None),
        ("verifier", 3),
        ("trainer", "mistral"),
    ],
)
def test_what_is_no_step_is_named_at_once(name, value):
    with pytest.raises(InputError, match=name):
        Pipeline(**{name: value})


def test_the_default_trainer_has_the_pipelines_seed():
    assert Pipeline(seed=7).trainer.seed == 7


def test_whatever_configures_a_step_is_a_setting_of_it():
    """Else a changed prompt would bring back old answers."""

    class Prompted:
        prompt = "Ask about {passage}"

        def __init__(self, examples):
            self.examples = examples
            self.client = object()

    class Changed(Prompted):
        prompt = "Ask well about {passage}"

    one = settings(Prompted([{"q": 1}]))
    assert one == settings(Prompted([{"q": 1}]))
    assert one != settings(Prompted([{"q": 2}]))
    assert one["prompt"] != settings(Changed([{"q": 1}]))["prompt"]
    json.dumps(one)


def test_chunks_too_small_to_teach_are_named_as_the_cause(pumps, tmp_path):
    from text2expert import Chunker

    with pytest.raises(NothingTaughtError, match="--chunk-size"):
        _gold_only(pumps, tmp_path / "run", chunker=Chunker(8, 0))


def test_an_exam_that_is_the_runs_own_is_not_asked_twice(pumps, tmp_path):
    first = _gold_only(pumps, tmp_path / "first")
    run = Pipeline().run(pumps, out=tmp_path / "second", exam=first.folder / "exam.jsonl", fine_tune=False)
    asked = list(read_jsonl(run.folder / "exam.jsonl", ExamQuestion))
    assert len({each.id for each in asked}) == len(asked)
    assert len({each.question for each in asked}) == len(asked)


# -- several documents ---------------------------------------------------------------------------------------------


def test_several_documents_make_one_run_with_ids_of_their_own(pumps, tmp_path):
    other = tmp_path / "other" / "pumps.txt"
    other.parent.mkdir()
    other.write_text(PUMPS.replace("pump", "fan").replace("80 °C", "60 °C"), encoding="utf-8")
    run = _gold_only([pumps, other], tmp_path / "run")
    assert [document["id"] for document in run.receipt["documents"]] == ["pumps", "pumps-2"]
    chunks = list(read_jsonl(run.folder / "chunks.jsonl", Chunk))
    assert [chunk.id for chunk in chunks] == [f"chunk_{number:06}" for number in range(1, len(chunks) + 1)]


def test_the_default_folder_is_named_after_the_inputs(pumps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fans.txt").write_text(PUMPS, encoding="utf-8")
    assert _gold_only("pumps.txt", None).folder == Path("expert_model_pumps")
    assert _gold_only(["pumps.txt", "fans.txt"], None).folder == Path("expert_model_pumps_and_1_more")


# -- stopped and killed ----------------------------------------------------------------------------------------------

LONG_RUN = """
import sys
from text2expert import Pipeline, Trainer
Pipeline(trainer=Trainer(max_steps=40)).run(sys.argv[1], out=sys.argv[2])
"""


def _start(pumps, out):
    command = [sys.executable, "-c", LONG_RUN, str(pumps), str(out)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)


def _wait_for(path, process, seconds=90):
    for _ in range(int(seconds / 0.05)):
        if path.exists():
            return
        assert process.poll() is None, f"it ended before {path.name} was there"
        time.sleep(0.05)
    pytest.fail(f"{path} did not appear")


def test_killed_and_killed_again_it_goes_on_where_it_was(pumps, tmp_path):
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
    _gold_only(pumps, tmp_path / "whole")
    assert _bytes(out) == _bytes(tmp_path / "whole")


def test_ctrl_c_ends_the_training_process_too(pumps, tmp_path):
    out = tmp_path / "run"
    process = _start(pumps, out)
    _wait_for(out / "stages" / "train" / "progress.jsonl", process)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(timeout=30) != 0
    recipes = subprocess.run(["pgrep", "-f", f"{out}"], capture_output=True, text=True, check=False)
    assert recipes.stdout == ""


def test_a_second_process_on_the_same_folder_is_told_who_is_there(pumps, tmp_path):
    out = tmp_path / "run"
    process = _start(pumps, out)
    try:
        _wait_for(out / "stages" / "base" / "progress.jsonl", process)
        with pytest.raises(RunFolderLockedError, match=f"pid {process.pid} on host"):
            _gold_only(pumps, out)
    finally:
        process.kill()
        process.wait()


# -- in Jupyter ------------------------------------------------------------------------------------------------------


def test_it_works_in_a_real_jupyter_kernel(trained):
    """On the folder of a finished run, so that nothing is trained again: blocking, awaited, shown, asked."""
    source, out = str(trained.folder.parent / "pumps.txt"), str(trained.folder)
    cells = [
        "from text2expert import Pipeline, Trainer\npipeline = Pipeline(trainer=Trainer(max_steps=6))",
        f"run = pipeline.run({source!r}, out={out!r})\nrun",
        "print(run.expert.ask('How often are the bearings greased?'))",
        f"again = await pipeline.arun({source!r}, out={out!r})\nagain.gold.head()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=180, kernel_name="python3").execute()
    assert "taught wordings" in json.dumps(notebook.cells[1].outputs)
    assert "instruction" in json.dumps(notebook.cells[3].outputs)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "match"),
    [
        ("empty.txt", b"", "empty"),
        ("blank.txt", b" \n\t\n", "white space|empty|blank"),
        ("paper.txt", b"%PDF-1.7\n\x00\x01", "PDF"),
        ("program.txt", b"\x7fELF\x02\x01\x01\x00", "program|binary"),
    ],
)
def test_what_is_no_text_is_refused_and_leaves_nothing_behind(tmp_path, monkeypatch, name, data, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=match) as caught:
        Pipeline().run(name)
    assert name in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_missing_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"nowhere\.txt"):
        Pipeline().run("nowhere.txt")
    assert list(tmp_path.iterdir()) == []


def test_a_text_in_which_nothing_can_be_taught_is_an_error_with_advice(tmp_path):
    poem = tmp_path / "poem.txt"
    poem.write_text("O wild west wind, thou breath of autumn!\n\nWhere are the songs of spring? Ay, where are they?\n")
    with pytest.raises(NothingTaughtError, match=r"poem\.txt.*teacher"):
        Pipeline().run(poem, out=tmp_path / "run", fine_tune=False)
    assert not (tmp_path / "run" / "golden_dataset.jsonl").exists()


def test_a_folder_with_other_things_in_it_is_not_taken(pumps, tmp_path):
    out = tmp_path / "photos"
    out.mkdir()
    (out / "cat.jpg").write_bytes(b"meow")
    with pytest.raises(RunFolderError, match=r"cat\.jpg"):
        _gold_only(pumps, out)
    assert [path.name for path in out.iterdir()] == ["cat.jpg"]


def test_a_file_is_no_run_folder(pumps, tmp_path):
    with pytest.raises(RunFolderError, match="is a file"):
        _gold_only(pumps, pumps)


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "3"])
def test_questions_per_chunk_is_checked(value):
    with pytest.raises(InputError, match="questions_per_chunk"):
        Pipeline(questions_per_chunk=value)


def test_source_or_gold_and_not_both(pumps):
    with pytest.raises(InputError, match="either"):
        Pipeline().run()
    with pytest.raises(InputError, match="either"):
        Pipeline().run(pumps, gold=pumps)


def test_a_damaged_exam_is_named_by_line_before_anything_is_made(pumps, tmp_path):
    exam = tmp_path / "exam.jsonl"
    exam.write_text('{"question": "Q?", "answer": "A"}\n{"question": "Q2?"\n')
    with pytest.raises(InputError, match=r"exam\.jsonl, line 2"):
        Pipeline().run(pumps, out=tmp_path / "run", exam=exam, fine_tune=False)
    assert not (tmp_path / "run").exists()


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
    assert _gold_only(pumps, out).receipt["counts"]["gold"] > 0


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(pumps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Pipeline().plan(pumps)
    assert plan.chunks == 3
    assert plan.usd == 0
    assert plan.hosts == ()
    assert "stays on this machine" in str(plan)
    assert [path.name for path in tmp_path.iterdir()] == ["pumps.txt"]
    run = Pipeline().run(pumps, fine_tune=False)
    assert (plan.pairs, plan.folder) == (run.receipt["counts"]["gold"], str(run.folder))


def test_steps_serve_alone_and_give_what_the_pipeline_gives(pumps, tmp_path):
    from text2expert import Chunker

    run = _gold_only(pumps, tmp_path / "run")
    chunks = Chunker().split(Document.from_text(PUMPS, id="pumps"))
    assert chunks == list(read_jsonl(run.folder / "chunks.jsonl", Chunk))
    pairs = RuleTeacher().teach(chunks)
    assert pairs
    verdicts = EvidenceVerifier().verify(pairs, chunks)
    assert len(verdicts) == len(pairs)

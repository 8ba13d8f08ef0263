"""The whole path for real, on texts small enough for a test."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
from pumps import DERIVED, PUMPS, QUICK, derived_bytes, gold_only

from text2expert import Document, Pipeline, Run
from text2expert.records import Chunk, ExamQuestion, GoldRecord, QAPair, Verdict, read_jsonl


def test_the_run_folder_holds_what_was_promised(finished):
    names = {path.name for path in finished.folder.iterdir()}
    after = {"exam_answers.jsonl", "exam_result.json", "report.html", "run.json"}
    assert {*DERIVED, "base", "expert", "source", *after} <= names
    assert {"adapter_model.safetensors", "adapter_config.json", "training_args.json", "model_config.json"} <= {
        path.name for path in (finished.folder / "expert").iterdir()
    }


def test_the_run_folder_is_for_its_owner_alone(finished):
    assert oct(finished.folder.stat().st_mode & 0o777) == "0o700"


def test_every_gold_answer_can_be_traced_to_its_place_in_the_source(finished):
    source = (finished.folder / "source" / "pumps.txt").read_text("utf-8")
    records = list(read_jsonl(finished.folder / "golden_dataset.jsonl", GoldRecord))
    verdicts = {verdict.qa_id: verdict for verdict in read_jsonl(finished.folder / "verdicts.jsonl", Verdict)}
    assert records
    for record in records:
        assert record.evidence
        assert all(source[span.start : span.end] == span.text for span in record.evidence)
        assert verdicts[record.qa_id].approved
        assert record.status == "evidence"


def test_counts_add_up(finished):
    counts = finished.receipt["counts"]
    parts = ("duplicates", "rejected", "unverified", "exam", "gold")
    assert counts["parsed"] == sum(counts[part] for part in parts)
    assert counts["parsed"] == len(list(read_jsonl(finished.folder / "generated_qa_pairs.jsonl", QAPair)))
    assert counts["gold"] == len(list(read_jsonl(finished.folder / "golden_dataset.jsonl", GoldRecord)))


def test_no_exam_wording_is_trained_on(finished):
    trained_on = {record.instruction for record in read_jsonl(finished.folder / "golden_dataset.jsonl", GoldRecord)}
    asked = {each.question for each in read_jsonl(finished.folder / "exam.jsonl", ExamQuestion) if each.row != "taught"}
    assert asked
    assert not asked & trained_on


def test_the_expert_answers(finished):
    answer = finished.expert.ask("How often are the bearings greased?")
    assert isinstance(answer.text, str)
    assert 0 <= answer.confidence <= 1


def test_a_finished_run_loads_again(finished):
    again = Run.load(finished.folder)
    assert again.receipt == finished.receipt
    assert again.exam == finished.exam
    assert again.exam.contestants == ("base", "expert", "lookup", "RAG, no model")


def test_gold_and_rejected_are_data_frames(finished):
    assert list(finished.gold.columns[:3]) == ["instruction", "input", "output"]
    assert len(finished.gold) == finished.receipt["counts"]["gold"]
    assert "reason" in finished.rejected.columns or len(finished.rejected) == 0


def test_a_run_shows_itself_with_its_table_its_warning_and_what_to_do_next(finished):
    shown = str(finished)
    assert "taught wordings" in shown
    assert "toy" in shown
    assert f"text2expert ask {finished.folder}" in shown
    assert "<script" not in finished._repr_html_()


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
    assert derived_bytes(tmp_path / "1") == derived_bytes(tmp_path / "2")


def test_a_bare_dataset_written_by_hand_trains(tmp_path):
    gold = tmp_path / "mine.jsonl"
    rows = [{"instruction": f"What is the code of door {n}?", "output": f"{n}{n}4{n}"} for n in range(8)]
    gold.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run = Pipeline(trainer=QUICK).run(gold=gold, out=tmp_path / "run")
    assert run.receipt["trained"]
    assert any("no source text" in note for note in run.exam.notes)


def test_it_runs_inside_a_running_event_loop_and_as_a_coroutine(pumps, tmp_path):
    async def blocking_inside():
        return gold_only(pumps, tmp_path / "a")

    async def awaited():
        return await Pipeline().arun(pumps, out=tmp_path / "b", fine_tune=False)

    assert asyncio.run(blocking_inside()).receipt["files"] == asyncio.run(awaited()).receipt["files"]


def test_one_pipeline_serves_many_runs(pumps, tmp_path):
    pipeline = Pipeline()
    first = pipeline.run(pumps, out=tmp_path / "a", fine_tune=False)
    second = pipeline.run(pumps, out=tmp_path / "b", fine_tune=False)
    assert first.receipt["files"] == second.receipt["files"]


def test_the_receipt_of_a_given_dataset_names_it_and_claims_no_teacher(pumps, tmp_path):
    first = gold_only(pumps, tmp_path / "run")
    gold = first.folder / "golden_dataset.jsonl"
    run = Pipeline().run(gold=gold, out=tmp_path / "again", fine_tune=False)
    assert run.receipt["dataset"]["path"] == str(gold)
    assert run.receipt["models"]["teacher"] is None
    assert "teacher" not in run.receipt["settings"]
    assert len(run.rejected) == 0


def test_line_separators_in_a_text_do_not_part_its_records(tmp_path):
    text = PUMPS.replace(" is replaced", " is\u2028replaced").replace(" are greased", "\x85are greased")
    run = gold_only(Document.from_text(text, id="pumps"), tmp_path / "run")
    assert len(run.gold) == run.receipt["counts"]["gold"]


def test_an_exam_that_is_the_runs_own_is_not_asked_twice(pumps, tmp_path):
    first = gold_only(pumps, tmp_path / "first")
    run = Pipeline().run(pumps, out=tmp_path / "second", exam=first.folder / "exam.jsonl", fine_tune=False)
    asked = list(read_jsonl(run.folder / "exam.jsonl", ExamQuestion))
    assert len({each.id for each in asked}) == len(asked)
    assert len({each.question for each in asked}) == len(asked)


def test_several_documents_make_one_run_with_ids_of_their_own(pumps, tmp_path):
    other = tmp_path / "other" / "pumps.txt"
    other.parent.mkdir()
    other.write_text(PUMPS.replace("pump", "fan").replace("80 °C", "60 °C"), encoding="utf-8")
    run = gold_only([pumps, other], tmp_path / "run")
    assert [document["id"] for document in run.receipt["documents"]] == ["pumps", "pumps-2"]
    chunks = list(read_jsonl(run.folder / "chunks.jsonl", Chunk))
    assert [chunk.id for chunk in chunks] == [f"chunk_{number:06}" for number in range(1, len(chunks) + 1)]


def test_the_default_folder_is_named_after_the_inputs(pumps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fans.txt").write_text(PUMPS, encoding="utf-8")
    assert gold_only("pumps.txt", None).folder == Path("expert_model_pumps")
    assert gold_only(["pumps.txt", "fans.txt"], None).folder == Path("expert_model_pumps_and_1_more")


def test_it_works_in_a_real_jupyter_kernel(finished):
    """On the folder of a finished run, so that nothing is trained again: blocking, awaited, shown, asked."""
    source, out = str(finished.folder.parent / "pumps.txt"), str(finished.folder)
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


def test_a_plan_says_what_a_run_would_do_and_writes_nothing(pumps, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = Pipeline().plan(pumps)
    assert plan.chunks == 3
    assert plan.usd_high == 0
    assert plan.hosts == ()
    assert "stays on this machine" in str(plan)
    assert [path.name for path in tmp_path.iterdir()] == ["pumps.txt"]
    run = Pipeline().run(pumps, fine_tune=False)
    assert (plan.pairs, plan.folder) == (run.receipt["counts"]["gold"], str(run.folder))

"""Golden datasets on disk: files written by hand, run folders, and exams seated anew."""

import errno
import json
import os
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from teachings import many_items, overlap_by_half, run_folder, teachings, unseen, write_lines

from text2expert import golden
from text2expert.errors import InputError, RecordError, RunFolderError
from text2expert.golden.split import reseat, split_records
from text2expert.records import ExamQuestion, GoldRecord, read_jsonl, wording, write_jsonl


def test_a_file_written_by_hand_is_a_dataset(tmp_path):
    path = write_lines(
        tmp_path / "mine.jsonl", {"instruction": "q", "output": "a"}, {"instruction": "r", "output": "b", "note": 1}
    )
    assert [GoldRecord(instruction="q", output="a"), GoldRecord(instruction="r", output="b")] == golden.load(path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"instruction": " ", "output": "a"}', "'instruction' is blank"),
        ('{"instruction": "q", "output": ""}', "'output' is blank"),
        ('{"instruction": "q"}', "output"),
        ('{"instruction": "q", "output": 7}', "output"),
        ('{"instruction": "q", "output": null}', "output"),
        ('{"instruction": "q", "output": "a", "difficulty": "huge"}', "difficulty"),
        ('{"instruction": "q", "outp', "not valid JSON"),
        ('["q", "a"]', "JSON object"),
    ],
)
def test_a_damaged_line_is_named_by_file_and_line(tmp_path, line, reason):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"instruction": "q", "output": "a"}\n\n' + line + "\n", encoding="utf-8")
    with pytest.raises(RecordError, match=rf"mine\.jsonl, line 3: .*{reason}"):
        golden.load(path)


def test_an_empty_or_missing_file_says_what_to_do(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(InputError, match=r"empty\.jsonl holds no training example: give lines like"):
        golden.load(tmp_path / "empty.jsonl")
    with pytest.raises(InputError, match=r"none\.jsonl.*check the path"):
        golden.load(tmp_path / "none.jsonl")


def test_a_run_folder_opens_with_its_own_exam_chunks_and_texts(tmp_path):
    folder = run_folder(tmp_path / "run", many_items(40))
    for path in (folder, folder / "golden_dataset.jsonl"):
        dataset = golden.open_dataset(path)
        assert golden.load(folder / "golden_dataset.jsonl") == list(dataset.records)
        assert list(read_jsonl(folder / "exam.jsonl", ExamQuestion)) == list(dataset.exam)
        assert folder / "chunks.jsonl" == dataset.chunks
        assert (folder / "source" / "alpha.txt",) == dataset.sources
        assert () == dataset.notes


def test_a_bare_file_gets_unique_ids_and_an_exam_split_from_it(tmp_path):
    pairs = many_items(40)
    records = [golden.to_gold(each, "evidence") for each in pairs]
    path = tmp_path / "joined.jsonl"
    write_jsonl(path, [*records, *(attrs.evolve(each, instruction=f"Again: {each.instruction}") for each in records)])
    dataset = golden.open_dataset(path)
    assert len({record.qa_id for record in dataset.records}) == len(dataset.records)
    assert (
        {"taught", "held_out", "new_template", "never_asked"}
        >= {question.row for question in dataset.exam}
        > {"taught"}
    )
    trained = {wording(record.instruction) for record in dataset.records}
    assert not trained & {wording(question.question) for question in unseen(dataset.exam)}
    assert any("split from it" in note for note in dataset.notes)
    assert any("no source text" in note for note in dataset.notes)
    assert dataset == golden.open_dataset(path)


def test_an_exam_is_split_from_what_a_run_with_the_same_seed_left(tmp_path):
    """Its facts are those that the seed did not draw: drawing them again in the same way would draw none."""
    folder = run_folder(tmp_path / "run", many_items(300, wordings=1), never_asked=0.1)
    bare = tmp_path / "bare.jsonl"
    bare.write_bytes((folder / "golden_dataset.jsonl").read_bytes())
    assert sum(question.row == "never_asked" for question in golden.open_dataset(bare).exam) > 5


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    with pytest.raises(RunFolderError, match=r"golden_dataset\.jsonl: give a run folder"):
        golden.open_dataset(tmp_path)


def test_an_exam_question_that_was_added_to_training_by_hand_counts_as_taught(tmp_path):
    folder = run_folder(tmp_path / "run", many_items(40), never_asked=0.5)
    path = folder / "golden_dataset.jsonl"
    exam = list(read_jsonl(folder / "exam.jsonl", ExamQuestion))
    held = next(question for question in exam if question.row == "held_out")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"instruction": held.question, "output": "A better answer."}) + "\n")
    seated = {question.id: question for question in golden.open_dataset(path).exam}
    assert ("taught", "A better answer.", ()) == (
        seated[held.id].row,
        seated[held.id].answer,
        seated[held.id].aliases,
    )
    others = {question.id: question for question in exam if question.id != held.id}
    assert others == {each.id: each for each in seated.values() if each.id != held.id}


@given(teachings(), st.integers(0, 3), st.data())
def test_reseating_never_makes_a_question_look_less_seen_than_it_is(teaching, seed, data):
    """Whatever is deleted from training or moved there from the exam, the rows tell the truth."""
    pairs, _ = teaching
    split = split_records([golden.to_gold(each, "model") for each in pairs], seed=seed, never_asked=0.5)
    kept = data.draw(st.lists(st.sampled_from(split.records), unique_by=id)) if split.records else []
    moved = [
        GoldRecord(
            instruction=each.question, output=each.answer, item=each.item, fact=each.fact, evidence=each.evidence
        )
        for each in (data.draw(st.lists(st.sampled_from(split.exam), unique_by=id)) if split.exam else [])
    ]
    records = [*kept, *moved]
    trained, items = {wording(record.instruction) for record in records}, {record.item for record in records}
    for question in reseat(split.exam, records):
        assert (wording(question.question) in trained) == (question.row == "taught")
        if question.row in ("held_out", "new_template"):
            assert question.item in items
        if question.row == "new_template":
            assert question.kind not in {record.kind for record in records}
        if question.row == "never_asked":
            assert question.item not in items
            assert not any(
                overlap_by_half(a, b) for record in records for a in question.evidence for b in record.evidence
            )


def deny(monkeypatch, path):
    """Have the system refuse to look at *path* and at what is in it, as it would for a folder of another user."""
    honest = os.stat

    def refusing(place, *arguments, **options):
        if isinstance(place, int) or path not in (Path(place), *Path(place).parents):
            return honest(place, *arguments, **options)
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))

    monkeypatch.setattr(os, "stat", refusing)


@pytest.mark.parametrize("denied", ["run/golden_dataset.jsonl", "run/exam.jsonl", "run/chunks.jsonl", "run/source"])
@pytest.mark.parametrize("given", ["run", "run/golden_dataset.jsonl"])
def test_what_may_not_be_read_is_named_with_what_to_do(tmp_path, monkeypatch, given, denied):
    run_folder(tmp_path / "run", many_items(4))
    deny(monkeypatch, tmp_path / denied)
    with pytest.raises(InputError, match=rf"cannot read \S*{denied}: no permission: have its owner let you read"):
        golden.open_dataset(tmp_path / given)
    with pytest.raises(InputError, match=rf"cannot read \S*{denied}: no permission"):
        golden.merge([tmp_path / given], tmp_path / "combined.jsonl")


def test_a_name_that_is_too_long_is_refused(tmp_path):
    folder = run_folder(tmp_path / "run", many_items(4))
    long = tmp_path / ("n" * 300)
    with pytest.raises(InputError, match="nnn: the name is too long: choose a shorter one"):
        golden.open_dataset(long)
    with pytest.raises(InputError, match="the name is too long"):
        golden.merge([long], tmp_path / "combined.jsonl")
    for out in (long, tmp_path / ("n" * 249 + ".jsonl")):  # the second leaves no room for its companions
        with pytest.raises(InputError, match="the name is too long"):
            golden.merge([folder], out)
    assert [folder] == list(tmp_path.iterdir())


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (golden.load, golden.open_dataset, lambda pipe: golden.merge([pipe], tmp_path / "combined.jsonl")):
        with pytest.raises(InputError, match="pipe is a pipe or a device: write what it gives to a file"):
            read(tmp_path / "pipe")

"""Merging golden datasets: what is joined, what is left out, and whose files are never touched."""

import errno
import os
import re
import stat

import pytest
from teachings import TEXTS, many_items, renamed, run_folder, unseen, write_lines

from text2expert import golden
from text2expert.errors import InputError, NothingTaughtError, RunFolderError
from text2expert.records import Chunk, ExamQuestion, read_jsonl, wording


def test_merging_joins_datasets_exams_chunks_and_texts(tmp_path):
    first = run_folder(tmp_path / "one", many_items(40))
    second = run_folder(tmp_path / "two", renamed(many_items(40)), "beta")
    merged = golden.merge([first, second], tmp_path / "combined.jsonl")
    dataset = golden.open_dataset(tmp_path / "combined.jsonl")
    sizes = [len(golden.load(folder / "golden_dataset.jsonl")) for folder in (first, second)]
    assert sum(sizes) == merged.records == len(dataset.records)
    assert (2, 0, 0, ()) == (merged.documents, merged.duplicates, merged.contradictory, merged.notes)
    assert {"alpha", "beta"} == {record.document for record in dataset.records}
    assert all(record.qa_id.startswith(f"{record.document}:chunk_") for record in dataset.records)
    assert len({record.qa_id for record in dataset.records}) == len(dataset.records)
    exams = [len(list(read_jsonl(folder / "exam.jsonl", ExamQuestion))) for folder in (first, second)]
    assert sum(exams) == len(dataset.exam) == merged.questions
    assert TEXTS == {path.stem: path.read_text(encoding="utf-8") for path in dataset.sources}
    chunks = list(read_jsonl(dataset.chunks, Chunk))
    assert [f"{name}:chunk_{n:06d}" for name in TEXTS for n in range(1, 11)] == [chunk.id for chunk in chunks]
    assert all(TEXTS[chunk.document][chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert () == dataset.notes


def test_two_documents_of_one_name_are_told_apart(tmp_path):
    first = run_folder(tmp_path / "one", many_items(20))
    second = run_folder(tmp_path / "two", renamed(many_items(20), document="alpha"), text=TEXTS["beta"])
    golden.merge([first, second], tmp_path / "combined.jsonl")
    dataset = golden.open_dataset(tmp_path / "combined.jsonl")
    assert ["alpha-2.txt", "alpha.txt"] == [path.name for path in dataset.sources]
    assert TEXTS["beta"] == dataset.sources[0].read_text(encoding="utf-8")
    assert {"alpha", "alpha-2"} == {span.document for record in dataset.records for span in record.evidence}


def test_two_runs_on_one_text_are_one_document_and_keep_the_exam_honest(tmp_path):
    """What one run held out, the other trained: such questions move to the row that is true, or go."""
    pairs = many_items(40)
    first = run_folder(tmp_path / "one", pairs, seed=1, never_asked=0.3)
    second = run_folder(tmp_path / "two", pairs, seed=2, never_asked=0.3)
    merged = golden.merge([first, second], tmp_path / "combined.jsonl")
    dataset = golden.open_dataset(tmp_path / "combined.jsonl")
    assert 1 == merged.documents == len(dataset.sources)
    assert 10 == len(list(read_jsonl(dataset.chunks, Chunk)))
    assert merged.duplicates > 0
    trained = {wording(record.instruction) for record in dataset.records}
    assert len(dataset.records) == len(trained)
    assert not trained & {wording(question.question) for question in unseen(dataset.exam)}
    facts = {record.fact for record in dataset.records}
    assert not facts & {question.fact for question in dataset.exam if question.row == "never_asked"}


def test_contradictions_across_datasets_are_left_out_and_counted(tmp_path):
    first = write_lines(
        tmp_path / "a.jsonl", {"instruction": "How long?", "output": "24 h"}, {"instruction": "Who?", "output": "I"}
    )
    second = write_lines(
        tmp_path / "b.jsonl", {"instruction": "how long", "output": "36 h"}, {"instruction": "Who?", "output": "I"}
    )
    merged = golden.merge([first, second], tmp_path / "combined.jsonl")
    assert ["Who?"] == [record.instruction for record in golden.load(tmp_path / "combined.jsonl")]
    assert (1, 1, 2) == (merged.records, merged.duplicates, merged.contradictory)
    assert any("no source text" in note for note in merged.notes)
    assert "2 contradictory" in str(merged)
    assert str(tmp_path / "combined.jsonl") in str(merged)


def test_nothing_left_is_an_error(tmp_path):
    first = write_lines(tmp_path / "a.jsonl", {"instruction": "How long?", "output": "24 h"})
    second = write_lines(tmp_path / "b.jsonl", {"instruction": "How long?", "output": "36 h"})
    with pytest.raises(NothingTaughtError, match="contradict"):
        golden.merge([first, second], tmp_path / "combined.jsonl")
    assert not (tmp_path / "combined.jsonl").exists()


def test_merging_again_is_the_same_byte_for_byte_and_leaves_nothing_stale(tmp_path):
    first = run_folder(tmp_path / "one", many_items(20))
    second = run_folder(tmp_path / "two", renamed(many_items(20)), "beta")
    out = tmp_path / "combined.jsonl"

    def snapshot():
        return {path.name: path.read_bytes() for path in tmp_path.rglob("combined*/*")} | {
            path.name: path.read_bytes() for path in tmp_path.glob("combined*.jsonl")
        }

    golden.merge([first, second], out)
    expected = snapshot()
    golden.merge([first, second], out)
    assert expected == snapshot()
    golden.merge([first], out)
    assert {"combined.jsonl", "combined.exam.jsonl", "combined.chunks.jsonl", "alpha.txt"} == set(snapshot())


def test_a_merged_dataset_merges_again(tmp_path):
    first = run_folder(tmp_path / "one", many_items(20))
    second = run_folder(tmp_path / "two", renamed(many_items(20)), "beta")
    golden.merge([first], tmp_path / "once.jsonl")
    golden.merge([tmp_path / "once.jsonl", second], tmp_path / "twice.jsonl")
    golden.merge([first, second], tmp_path / "direct.jsonl")
    for kind in ("jsonl", "exam.jsonl", "chunks.jsonl"):
        assert (tmp_path / f"direct.{kind}").read_bytes() == (tmp_path / f"twice.{kind}").read_bytes()


@pytest.mark.parametrize(
    "out",
    [
        "one/golden_dataset.jsonl",
        "one/exam.jsonl",
        "one/chunks.jsonl",
        "one/source/alpha.txt",
        "one/more.jsonl",
        "link.jsonl",
    ],
)
def test_a_source_is_never_overwritten(tmp_path, out):
    folder = run_folder(tmp_path / "one", many_items(4))
    (tmp_path / "link.jsonl").symlink_to(folder / "golden_dataset.jsonl")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="would overwrite"):
        golden.merge([folder], tmp_path / out)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_merging_a_file_over_itself_or_its_exam_is_refused(tmp_path):
    path = write_lines(tmp_path / "a.jsonl", {"instruction": "q", "output": "b"})
    for out in ("a.jsonl", "a.exam.jsonl", "a.chunks.jsonl"):
        with pytest.raises(InputError, match="choose another name"):
            golden.merge([path], tmp_path / out)


def contents(folder):
    """Every file and folder in *folder*, with its bytes."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("adir/x", b"", "adir is a folder: name the file to write"),
        (
            "adir",
            b"Notes of mine.\n",
            "adir is not what a merge wrote, so it is not overwritten: choose another name or",
        ),
        ("adir", b"\xff\x00", "is not what a merge wrote"),
        ("adir.exam.jsonl", b'{"question": "q", "answer": "a"}\n', r"adir\.exam\.jsonl is not what a merge wrote"),
        ("adir.chunks.jsonl", b"[]", r"adir\.chunks\.jsonl is not what a merge wrote"),
        ("adir.chunks.jsonl/x", b"", r"adir\.chunks\.jsonl is not what a merge wrote"),
        ("adir.sources", b"", "source texts go to a folder of this name"),
        ("adir.sources/alpha.txt", b"My own.", r"adir\.sources/alpha\.txt is not what a merge wrote"),
    ],
)
def test_a_users_file_is_never_overwritten(tmp_path, name, content, reason):
    folder = run_folder(tmp_path / "run", many_items(4))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=reason):
        golden.merge([folder], tmp_path / "adir")
    assert before == contents(tmp_path)


def test_the_dataset_of_a_run_is_never_overwritten_by_a_merge_of_others(tmp_path):
    first, second = (run_folder(tmp_path / name, many_items(4)) for name in ("one", "two"))
    before = contents(tmp_path)
    with pytest.raises(InputError, match="is the dataset of a run: choose another name"):
        golden.merge([first], second / "golden_dataset.jsonl")
    assert before == contents(tmp_path)


def test_a_source_text_that_is_not_utf_8_is_named_and_nothing_is_written(tmp_path):
    folder = run_folder(tmp_path / "run", many_items(4))
    (folder / "source" / "alpha.txt").write_bytes("Prüfung".encode("latin-1"))
    with pytest.raises(InputError, match=r"source/alpha\.txt is not UTF-8 text .*: save it as UTF-8"):
        golden.merge([folder], tmp_path / "combined.jsonl")
    assert [folder] == list(tmp_path.iterdir())


def test_a_users_text_among_the_source_texts_stays(tmp_path):
    first = run_folder(tmp_path / "one", many_items(20))
    second = run_folder(tmp_path / "two", renamed(many_items(20)), "beta")
    out, own = tmp_path / "combined.jsonl", tmp_path / "combined.sources" / "mine.txt"
    golden.merge([first, second], out)
    own.write_text("My own.")
    golden.merge([first], out)
    assert ["alpha.txt", "mine.txt"] == sorted(path.name for path in own.parent.iterdir())
    assert "My own." == own.read_text()


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("again", [False, True])
def test_a_merge_that_fails_leaves_all_as_it_was(tmp_path, monkeypatch, call, again):
    """On a disk that is full at any of its writes, and whether or not there is an earlier merge to replace."""
    first = run_folder(tmp_path / "one", many_items(20))
    second = run_folder(tmp_path / "two", renamed(many_items(20)), "beta")
    out = tmp_path / "combined.jsonl"
    if again:
        golden.merge([second], out)
    before = contents(tmp_path)
    honest, left = getattr(os, call), iter(())

    def failing(*arguments):
        of_folder = call == "fsync" and stat.S_ISDIR(os.fstat(*arguments).st_mode)  # not every file system can
        if not of_folder and next(left, None) == "fail":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return honest(*arguments)

    monkeypatch.setattr(os, call, failing)
    failures = []
    for number in range(100):
        left = iter([*["pass"] * number, "fail"])
        try:
            golden.merge([first], out)
        except RunFolderError as error:
            failures.append((str(error), contents(tmp_path)))
        else:
            break
    assert len(failures) >= 4
    assert {"alpha"} == {record.document for record in golden.load(out)}
    for message, after in failures:
        assert re.search(r"cannot write \S*/combined\S*: the disk is full", message)
        assert before == after


def test_merging_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="at least one"):
        golden.merge([], tmp_path / "combined.jsonl")

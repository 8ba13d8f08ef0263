"""What a pipeline is given and cannot use is named, and leaves nothing behind."""

import attrs
import pytest
from pumps import PUMPS, derived_bytes, gold_only

from text2expert import Document, InputError, NothingTaughtError, Pipeline, RuleTeacher, RunFolderError


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
        gold_only(pumps, out)
    assert [path.name for path in out.iterdir()] == ["cat.jpg"]


def test_a_file_is_no_run_folder(pumps, tmp_path):
    with pytest.raises(RunFolderError, match="is a file"):
        gold_only(pumps, pumps)


@pytest.mark.parametrize("name", ["../../evil", "a/b", "x" * 300, ""])
def test_a_document_cannot_leave_the_run_folder_by_its_id(tmp_path, name):
    with pytest.raises(InputError, match="file name"):
        Document.from_text(PUMPS, id=name)
    document = attrs.evolve(Document.from_text(PUMPS), id=name)
    with pytest.raises(InputError, match="file name"):
        gold_only(document, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


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
        ("include_unverified", "yes"),
    ],
)
def test_what_is_no_step_is_named_at_once(name, value):
    with pytest.raises(InputError, match=name):
        Pipeline(**{name: value})


def test_a_name_or_a_class_in_place_of_a_step_is_told_what_was_meant():
    with pytest.raises(InputError, match=r"did you mean Teacher\('deepseek/deepseek-flash'\)\?"):
        Pipeline(teacher="deepseek/deepseek-flash")
    with pytest.raises(InputError, match=r"did you mean RuleTeacher\(\)\?"):
        Pipeline(teacher=RuleTeacher)


def test_a_text_of_one_word_is_told_to_grow_and_not_its_chunks(tmp_path, monkeypatch):
    """The size of chunks is no way out where the whole text is shorter than one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("Hello world.\n")
    with pytest.raises(NothingTaughtError, match="give a longer one") as caught:
        Pipeline().run("short.txt", fine_tune=False)
    assert "--chunk-size" not in str(caught.value)


def test_chunks_too_small_to_teach_are_named_as_the_cause(pumps, tmp_path):
    from text2expert import Chunker

    with pytest.raises(NothingTaughtError, match="--chunk-size"):
        gold_only(pumps, tmp_path / "run", chunker=Chunker(8, 0))


@pytest.mark.parametrize("value", [0, -1, True, 2.5, "3"])
def test_questions_per_chunk_is_checked(value):
    with pytest.raises(InputError, match="questions_per_chunk"):
        Pipeline(questions_per_chunk=value)


def test_source_or_gold_and_not_both(pumps):
    with pytest.raises(InputError, match="either"):
        Pipeline().run()
    with pytest.raises(InputError, match="either"):
        Pipeline().run(pumps, gold=pumps)


def test_a_dataset_is_not_adopted_into_its_own_run_folder(pumps, tmp_path):
    run = gold_only(pumps, tmp_path / "run")
    before = derived_bytes(run.folder)
    for gold in (run.folder, run.folder / "golden_dataset.jsonl"):
        with pytest.raises(InputError, match="without gold="):
            Pipeline().run(gold=gold, out=run.folder, fine_tune=False)
    assert derived_bytes(run.folder) == before


def test_a_damaged_exam_is_named_by_line_before_anything_is_made(pumps, tmp_path):
    exam = tmp_path / "exam.jsonl"
    exam.write_text('{"question": "Q?", "answer": "A"}\n{"question": "Q2?"\n')
    with pytest.raises(InputError, match=r"exam\.jsonl, line 2"):
        Pipeline().run(pumps, out=tmp_path / "run", exam=exam, fine_tune=False)
    assert not (tmp_path / "run").exists()

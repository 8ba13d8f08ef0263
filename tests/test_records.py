"""Records: there and back through JSON, and what happens to what is damaged."""

import json
import math

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from text2expert import records
from text2expert.errors import InputError, RecordError
from text2expert.examiner import ExamResult
from text2expert.records import (
    Document,
    ExamQuestion,
    GoldRecord,
    Job,
    QAPair,
    Span,
    Verdict,
    digest,
    drawn,
    from_dict,
    read_jsonl,
    to_dict,
    to_line,
    wording,
    write_jsonl,
)

CLASSES = [member for member in vars(records).values() if isinstance(member, type) and attrs.has(member)]
TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too: a broken reply may hold one


@pytest.fixture(autouse=True, scope="module")
def _hard_values():
    st.register_type_strategy(str, TEXT)
    st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))
    yield
    st.register_type_strategy(str, st.text())
    st.register_type_strategy(float, st.floats())


def a_record():
    def built(cls):
        fields = [field for field in attrs.fields(attrs.resolve_types(cls)) if field.init]
        return st.builds(cls, **{field.name: st.from_type(field.type) for field in fields})

    return st.one_of([built(cls) for cls in CLASSES])


@given(data=st.data())
@settings(max_examples=300)
def test_every_record_comes_back_as_it_was(tmp_path_factory, data):
    """Through a file, whatever its strings hold: quotes, newlines, separators, half a surrogate pair."""
    record = data.draw(a_record())
    path = tmp_path_factory.getbasetemp() / "round.jsonl"
    assert 2 == write_jsonl(path, [record, record])
    assert 2 == path.read_bytes().count(b"\n")
    if isinstance(record, Document):
        record = attrs.evolve(record, text=None)  # never written
    assert [record, record] == list(read_jsonl(path, type(record)))


def test_all_records_are_frozen_and_by_keyword():
    assert len(CLASSES) > 10
    for cls in CLASSES:
        assert all(field.kw_only for field in attrs.fields(cls))
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            object.__new__(cls).id = "x"


def test_source_text_is_never_written():
    document = Document.from_text("the secret text")
    assert "secret" not in to_line(document)
    assert "secret" not in repr(document)


def test_a_verdict_that_claims_approval_is_judged_again():
    verdict = Verdict(qa_id="q", grounded=True, no_hallucination=False, complete=True)
    claimed = {**to_dict(verdict), "approved": True}
    assert from_dict(claimed, Verdict).approved is False
    assert to_dict(verdict)["approved"] is False


def test_pairs_and_gold_have_the_keys_that_others_read():
    pair = QAPair(qa_id="c_qa_0", question="q", answer="a", sources=("chunk_000007", "chunk_000009"))
    assert "chunk_000007" == to_dict(pair)["source_chunk"]
    assert {"instruction", "input", "output", "reasoning", "difficulty"} <= set(
        to_dict(GoldRecord(instruction="q", output="a"))
    )


def test_unknown_keys_are_ignored_and_missing_ones_take_their_default():
    assert GoldRecord(instruction="q", output="a") == from_dict({"instruction": "q", "output": "a", "x": 1}, GoldRecord)


@pytest.mark.parametrize(
    ("cls", "value", "reason"),
    [
        (GoldRecord, {"instruction": "q"}, r"required field missing @ GoldRecord\.output"),
        (GoldRecord, {"instruction": 1, "output": "a"}, r"expected str, got 1 @ GoldRecord\.instruction"),
        (GoldRecord, {"instruction": "q", "output": None}, r"expected str, got None @ GoldRecord\.output"),
        (
            GoldRecord,
            {"instruction": "q", "output": "a", "status": "best"},
            r"'unverified', got 'best' @ GoldRecord\.status",
        ),
        (
            GoldRecord,
            {"instruction": "q", "output": "a", "evidence": "abc"},
            r"expected a list, got 'abc' @ GoldRecord\.evidence",
        ),
        (
            GoldRecord,
            {"instruction": "q", "output": "a", "evidence": ["x"]},
            r"a JSON object, got 'x' @ GoldRecord\.evidence\[0\]",
        ),
        (Span, {"document": "d", "start": 1.0, "end": 2, "text": "x"}, r"expected int, got 1\.0 @ Span\.start"),
        (Span, {"document": "d", "start": True, "end": 2, "text": "x"}, r"expected int, got True @ Span\.start"),
        (
            Verdict,
            {"qa_id": "q", "grounded": "no", "no_hallucination": True, "complete": True},
            r"expected bool, got 'no'",
        ),
        (
            ExamQuestion,
            {"id": "a", "row": "taught", "question": "q", "answer": "a", "value": "5"},
            r"a finite number, got '5'",
        ),
        (
            ExamQuestion,
            {"id": "a", "row": "taught", "question": "q", "answer": "a", "aliases": "24 h"},
            r"a list, got '24 h'",
        ),
        (ExamResult, [], r"expected a JSON object, got \[\]"),
        (
            Job,
            {"id": "j", "folder": "f", "stages": [{"name": "a", "argv": [1]}]},
            r"expected str, got 1 @ Job\.stages\[0\]\.argv\[0\]",
        ),
    ],
)
def test_a_wrong_value_is_refused_with_the_path_to_it(cls, value, reason):
    """Nothing is guessed: no number becomes a string, no string a list of letters."""
    with pytest.raises(InputError, match=reason):
        from_dict(value, cls)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"document": "d", "start": 0', "not valid JSON"),
        (b"null", "expected a JSON object"),
        (b'"text"', "expected a JSON object"),
        (b"\xff\xfe{}", "not valid JSON"),
        (b'{"document": "\xe9"}', "not valid JSON"),
        (b'{"document": "d", "start": NaN, "end": 1, "text": ""}', "NaN is not JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"document": "d", "start": 0, "end": 1}', r"not a Span: required field missing @ Span\.text"),
    ],
)
def test_a_damaged_line_is_named_by_file_and_line(tmp_path, line, reason):
    path = tmp_path / "spans.jsonl"
    good = to_line(Span(document="d", start=0, end=1, text="\u2028é"))
    path.write_bytes(good.encode() + b"\n\n  \r\n" + line + b"\n" + good.encode() + b"\n")
    read = read_jsonl(path, Span)
    assert "\u2028é" == next(read).text
    with pytest.raises(RecordError, match=rf"spans\.jsonl, line 4: .*{reason}"):
        next(read)


def test_a_last_line_without_newline_and_a_byte_order_mark_are_read(tmp_path):
    path = tmp_path / "spans.jsonl"
    line = to_line(Span(document="d", start=0, end=1, text="x")).encode()
    path.write_bytes(b"\xef\xbb\xbf" + line + b"\r\n" + line)
    assert 2 == len(list(read_jsonl(path, Span)))


def test_a_byte_order_mark_inside_a_file_is_no_json(tmp_path):
    """Files joined by hand; training would read no more than this does."""
    path = tmp_path / "spans.jsonl"
    line = to_line(Span(document="d", start=0, end=1, text="x")).encode()
    path.write_bytes(line + b"\n\xef\xbb\xbf" + line)
    with pytest.raises(RecordError, match=r"spans\.jsonl, line 2: not valid JSON"):
        list(read_jsonl(path, Span))


def test_a_missing_file_or_a_folder_is_named(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(InputError, match=rf"cannot read {path}: .*; check the path"):
            list(read_jsonl(path, Span))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_has_not_is_refused_and_the_file_stays_as_it_was(tmp_path, value):
    path = tmp_path / "exam.jsonl"
    path.write_text("before\n")
    question = ExamQuestion(id="a", row="taught", question="q", answer="a", value=value)
    with pytest.raises(InputError, match=f"ExamQuestion cannot be written.*{value}"):
        write_jsonl(path, [question])
    assert "before\n" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)),
    st.sampled_from(CLASSES),
)
def test_any_json_object_becomes_a_record_or_an_input_error(value, cls):
    """Also where keys of the record hold values of any type."""
    fields = [field.name for field in attrs.fields(cls)]
    value = {**value, **dict(zip(fields, value.values(), strict=False))}
    try:
        record = from_dict(value, cls)
    except InputError as error:
        refused = str(error)
    else:
        assert record == from_dict(json.loads(to_line(record)), cls)
        return
    assert cls.__name__ in refused


# -- documents -------------------------------------------------------------------------------------------------------


@given(st.text())
def test_a_text_becomes_a_document_with_plain_newlines_or_is_refused(text):
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not expected.strip():
        with pytest.raises(InputError, match=r"document 'text' is empty"):
            Document.from_text(text)
        return
    document = Document.from_text(text)
    assert expected == document.text
    assert len(expected) == document.n_chars


def test_a_lone_surrogate_in_a_text_is_refused_with_its_place():
    with pytest.raises(InputError, match=r"'mine' holds a lone surrogate at character 3"):
        Document.from_text("abc\ud800", id="mine")


# -- identity and draws ----------------------------------------------------------------------------------------------


def test_a_digest_knows_where_a_part_ends():
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest("", "abc")}) == 5


@given(st.integers(), TEXT)
def test_a_draw_is_a_function_of_seed_and_content_and_grows_with_the_share(seed, content):
    draws = [drawn(seed, content, share / 10) for share in range(11)]
    assert draws == sorted(draws)
    assert (draws[0], draws[-1]) == (False, True)


def test_a_share_of_contents_is_drawn():
    count = sum(drawn(7, f"pair {n}", 0.3) for n in range(20_000))
    assert 0.29 < count / 20_000 < 0.31


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What’s the P/F ratio?", "what's the p/f ratio"),
        ("Give 5 % — now!", "give 5% now"),
        ("ﬁnd “it”", 'find "it"'),
        ("at −5 °C", "AT -5°C"),
    ],
)
def test_typography_case_and_punctuation_do_not_make_another_question(one, other):
    assert wording(one) == wording(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("above 5", "above 6"),
        ("3.5 mg", "35 mg"),
        ("3.5 mg", "3 5 mg"),
        ("if < 5", "if > 5"),
        ("≤5", "5"),
        ("at -5 °C", "at 5 °C"),
        ("RC-431", "RC-432"),
        ("कि", "की"),  # vowel signs are no punctuation
        ("café", "cafe"),
    ],
)
def test_digits_signs_and_letters_do(one, other):
    assert wording(one) != wording(other)


@given(TEXT)
@example("at −5 °C, 3.5, <5")
def test_a_wording_is_its_own_wording(text):
    assert wording(text) == wording(wording(text))


def test_scripts_without_spaces_have_a_word_for_each_character():
    assert "血 圧 は 5 mmhg" == wording("血圧は、5mmHg。".replace("5mmHg", "5 mmHg"))

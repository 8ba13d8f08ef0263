"""The exam: reading it, grading it, the lookup contestant, and the table."""

import json
import os
import random
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert import examiner
from text2expert.errors import InputError, RecordError
from text2expert.examiner import Examiner, ExamScore, NearestQuestion, grade, load_exam, refuses, share_taught, table
from text2expert.records import ROW_TITLES, Answer, ExamQuestion, GoldRecord, Span, wording, write_jsonl

SAMPLE = Path(examiner.__file__).parents[1] / "samples" / "exam.jsonl"


def asked(answer, *aliases, question="How long does it last?", **fields):
    return ExamQuestion(id="x", row="held_out", question=question, answer=answer, aliases=aliases, **fields)


# -- reading ---------------------------------------------------------------------------------------------------------


def test_the_shipped_exam_is_read_whole():
    rows = [json.loads(line) for line in SAMPLE.read_text(encoding="utf-8").splitlines()]
    exam = load_exam(SAMPLE)
    assert [row["id"] for row in rows] == [question.id for question in exam]
    assert {"hand_written"} == {question.row for question in exam}
    assert [row["answer"] for row in rows] == [question.answer for question in exam]
    assert [tuple(row["alternates"]) for row in rows] == [question.aliases for question in exam]
    for question in exam:
        source = (SAMPLE.parent / f"{question.document}.txt").read_text(encoding="utf-8")
        assert all(source[span.start : span.end] == span.text for span in question.evidence)


def test_questions_about_documents_that_are_not_at_hand_are_left_out():
    exam = load_exam(SAMPLE, documents={"vessel_mooring_sop"})
    assert {"vessel_mooring_sop"} == {question.document for question in exam}


def test_a_question_and_an_answer_are_enough(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"question": "How long?", "answer": "24 h"}\n'
        '{"question": "Who?", "answerable": false, "answer": "The text does not say."}\n'
    )
    first, second = load_exam(path, documents={"anything"})
    assert ("hand_written_1", "24 h") == (first.id, first.answer)
    assert ("hand_written_2", None) == (second.id, second.answer)


def test_a_line_may_have_other_right_answers_its_document_and_fields_of_ones_own(tmp_path):
    path = tmp_path / "mine.jsonl"
    line = '"answer": "24 h", "value": 24, "unit": "h", "prompt": "x", "section": "4.1", "author": "me", "row": 7'
    path.write_text(
        f'{{"question": "How long?", "aliases": ["a day"], "document": "sop.txt", {line}}}\n'
        f'{{"question": "How long?", "alternates": ["a day"], "doc": "docs/sop.md", "id": "b", {line}}}\n'
    )
    one, other = load_exam(path)
    assert (("a day",), "sop", 24.0, "h") == (one.aliases, one.document, one.value, one.unit)
    assert attrs.evolve(one, id="b") == other


def test_our_own_exam_comes_back_as_it_was_written(tmp_path):
    exam = [
        ExamQuestion(
            id="a", row="taught", question="q", answer="a", aliases=("b",), value=1.5, unit="h", item="i", kind="r:t"
        ),
        ExamQuestion(
            id="b",
            row="hand_written",
            question="r",
            answer=None,
            evidence=(Span(document="d", start=0, end=1, text="x"),),
        ),
    ]
    write_jsonl(tmp_path / "exam.jsonl", exam)
    assert exam == load_exam(tmp_path / "exam.jsonl")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"answer": "24 h"}', "it has no 'question'; its fields are 'answer'"),
        ('{"q": "How long?", "answer": "24 h"}', "there is no field 'q': call it 'question'"),
        ('{"question": "How long?", "output": "24 h"}', "there is no field 'output': call it 'answer'"),
        ('{"question": "How long?", "answer": "24 h", "alias": ["a day"]}', "no field 'alias': call it 'aliases'"),
        ('{"Question": "How long?", "answer": "24 h"}', "there is no field 'Question': call it 'question'"),
        ('{"question": "How long?", "answerabel": false}', "there is no field 'answerabel': call it 'answerable'"),
        ('{"question": " ", "answer": "24 h"}', "'question' is blank"),
        ('{"question": "Why?"}', "no 'answer'.*\"answerable\": false"),
        ('{"question": "Why?", "answer": ""}', "'answer' is blank"),
        ('{"question": "Why?", "answer": 24}', "expected str, got 24"),
        ('{"question": "Why?", "answer": "a", "alternates": "b"}', "expected a list, got 'b'"),
        ('{"question": "Why?", "answer": "a", "answerable": "yes"}', "'answerable' must be true or false, got 'yes'"),
        ('{"question": "Why?", "answer": "a", "evidence": "b"}', "'evidence' must be a list of objects"),
        ('{"question": "Why?", "answer": "a", "evidence": [{"text": "b"}]}', "evidence"),
        ('{"question": "Why?", "answer": "a", "id": "one"}', "its id 'one' is that of line 1"),
        ('{"question": "who", "answer": "You"}', "line 1 asks the same, and there 'I' is right, here 'You'"),
        ('{"id": "b", "row": "easy", "question": "Why?", "answer": "a", "fact": ""}', "easy"),
        (
            '{"question": "Why?", "answer": "24 h", "answerable": false}',
            "the 'answer' '24 h', and 'answerable' is false",
        ),
        ('{"question": "Why?", "answer": "a"', "not valid JSON"),
    ],
)
def test_a_bad_line_is_named_by_file_and_line(tmp_path, line, reason):
    path = tmp_path / "mine.jsonl"
    path.write_text('{"id": "one", "question": "Who?", "answer": "I"}\n\n' + line + "\n")
    with pytest.raises(RecordError, match=rf"mine\.jsonl, line 3: .*{reason}"):
        load_exam(path)


def test_an_empty_exam_says_what_to_write(tmp_path):
    (tmp_path / "mine.jsonl").write_text("\n")
    with pytest.raises(InputError, match=r"mine\.jsonl holds no question: give lines like"):
        load_exam(tmp_path / "mine.jsonl")


def test_answers_are_read_by_id(tmp_path):
    """A share of a batch's time is nobody's waiting time; that of an answer asked alone is."""
    path = tmp_path / "answers.jsonl"
    path.write_text(
        '{"id": "a", "text": "24 h", "confidence": 0.5, "seconds": 0.1, "seconds_alone": 0.7, "tokens_in": 9}\n'
        '{"id": "b", "text": "", "seconds": 0.1}\n'
    )
    expected = {"a": Answer(text="24 h", confidence=0.5, seconds=0.7, tokens_in=9), "b": Answer(text="")}
    assert expected == examiner.load_answers(path)
    for line in ('{"id": "a", "text": null}', '{"text": "b"}'):
        path.write_text(line + "\n")
        with pytest.raises(RecordError, match=r"answers\.jsonl, line 1"):
            examiner.load_answers(path)


def test_own_questions_join_an_exam_under_ids_of_their_own():
    """Also where they are those of a run's exam.jsonl: the ids are the same, and so are some of the questions."""
    split = [
        attrs.evolve(asked("24 hours", question=f"How long is {name}?"), id=name, row="taught")
        for name in ("a", "a-2", "b")
    ]
    own = [
        attrs.evolve(asked("1", question="how long is A"), id="c"),
        attrs.evolve(asked("2", question="How long is x?"), id="a"),
        attrs.evolve(asked("3", question="How long is y?"), id="b"),
        attrs.evolve(asked("4", question="How long is z?"), id="z"),
    ]
    joined = examiner.join_exam(split, own)
    assert split == joined[:3]
    assert [("a-3", "2"), ("b-2", "3"), ("z", "4")] == [(each.id, each.answer) for each in joined[3:]]
    assert {"hand_written"} == {each.row for each in joined[3:]}
    assert split == examiner.join_exam(split, split)


@given(st.lists(st.sampled_from(["a", "a-2", "b"]), unique=True), st.lists(st.sampled_from(["a", "a-2", "a-3", "b"])))
def test_joined_exams_have_unique_ids(taken, given_ids):
    split = [attrs.evolve(asked("1", question=f"Is {name} asked?"), id=name) for name in taken]
    own = [attrs.evolve(asked("1", question=f"Own {place}?"), id=name) for place, name in enumerate(given_ids)]
    joined = examiner.join_exam(split, own)
    assert len(split) + len(own) == len(joined) == len({each.id for each in joined})


def test_an_exam_that_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is a pipe or a device: write what it gives to a file"):
        load_exam(tmp_path / "pipe")
    with pytest.raises(InputError, match="is a folder: give the JSONL file"):
        load_exam(tmp_path)


# -- grading ---------------------------------------------------------------------------------------------------------

RIGHT = [
    (asked("24 hours"), "24 hours"),
    (asked("24 hours"), "It lasts 24 h."),
    (asked("24 hours"), "twenty-four hours"),
    (asked("24 hours"), "1 day"),
    (asked("24 hours"), "Under Section 4.2 it lasts 24 hours."),
    (asked("24 hours"), "24"),
    (asked("It must be renewed within 24 hours.", "24 hours"), "Within 24 hours."),
    (asked("24", question="How many months?"), "24 months"),
    (asked("24 months", "24", "2 years"), "two years"),
    (asked("at least 500 kW"), "500 kW or more"),
    (asked("at least 500 kW"), "500 kW"),
    (asked("88 to 92%"), "88–92 %"),
    (asked("5%"), "5 percent"),
    (asked("5%"), "5 per cent"),
    (asked("100 mmHg"), "It is 100 mm Hg."),
    (asked("1,000 mL"), "1 L"),
    (asked("6 linesmen and 3 head lines"), "Six linesmen, and three head lines."),
    (asked("RC-431"), "It is written on form RC-431."),
    (asked("Bleomycin"), "the drug is bleomycin"),
    (asked("The nurse must start oxygen.", "start oxygen"), "Start oxygen at once."),
    (asked("Yes, if a consultant agrees", "Yes"), "Yes."),
    (asked("A"), "a"),
    (asked("血圧"), "血圧です"),
]
WRONG = [
    (asked("24 hours"), ""),
    (asked("24 hours"), "36 hours"),
    (asked("24 hours"), "24 minutes"),
    (asked("24 hours"), "24 to 36 hours"),
    (asked("24 hours"), "24 hours, or 36 hours"),
    (asked("24 hours"), "not 24 hours"),
    (asked("24 hours"), "24 forms"),
    (asked("24 hours"), "It is unknown whether it is 24 hours."),
    (asked("24 hours"), "24 hours " + "and so on " * 20),
    (asked("24 months", "24", "2 years"), "24 years"),
    (asked("24 months", "24", "2 years"), "2"),
    (asked("at least 500 kW"), "at most 500 kW"),
    (asked("88 to 92%"), "92 to 88%"),
    (asked("88 to 92%"), "92%"),
    (asked("0.5 mL"), "5 mL"),
    (asked("-5 °C"), "5 °C"),
    (asked("10 working days"), "10 days"),
    (asked("6 linesmen and 3 head lines"), "3 linesmen and 6 head lines"),
    (asked("6 linesmen and 3 head lines"), "6 linesmen and 4 head lines"),
    (asked("UHF channel 3", "channel 3", question="Which channel?"), "Tier 3"),
    (asked("RC-431"), "RC-432"),
    (asked("bleomycin"), "It is not bleomycin."),
    (asked("bleomycin"), "I don't know if it is bleomycin."),
    (asked("Yes, if a consultant agrees", "Yes"), "No, yes would be wrong"),
    (asked("No"), "Yes"),
    (asked("A"), "B"),
    (asked("Do not give more than 40 mg to a child at night.", "x"), "Do give more than 40 mg to a child at night."),
]


@pytest.mark.parametrize(("question", "answer"), RIGHT)
def test_right_answers_are_right(question, answer):
    assert grade(question, answer)


@pytest.mark.parametrize(("question", "answer"), WRONG)
def test_wrong_answers_are_wrong(question, answer):
    assert not grade(question, answer)


def test_every_answer_of_the_shipped_exam_is_right_for_its_question():
    exam = [question for question in load_exam(SAMPLE) if question.answer is not None]
    for question in exam:
        for answer in (question.answer, *question.aliases):
            assert grade(question, answer), (question.id, answer)
            assert grade(question, f"  {answer.upper()} . "), (question.id, answer)


def test_a_value_changed_by_a_digit_is_wrong_throughout_the_shipped_exam():
    exam = [question for question in load_exam(SAMPLE) if question.answer is not None]
    altered = 0
    for question in exam:
        for place, letter in enumerate(question.answer):
            if letter.isdigit():
                answer = question.answer[:place] + str((int(letter) + 1) % 10) + question.answer[place + 1 :]
                altered += 1
                # An alias may be a part of the answer ("30" of "30 x10^9/L"), which was not altered.
                assert not grade(attrs.evolve(question, aliases=()), answer), (question.id, answer)
    assert altered > 100


def test_the_answer_to_another_question_is_hardly_ever_right():
    """Only where it says the very same value (12 for "12 months", 24 months for "2 years")."""
    exam = [question for question in load_exam(SAMPLE) if question.answer is not None]
    pairs = [(one, other) for one in exam for other in exam if one.id != other.id]
    passed = sum(grade(one, other.answer) for one, other in pairs)
    assert passed / len(pairs) < 0.005


def test_only_a_refusal_answers_what_the_text_does_not_say():
    for question in load_exam(SAMPLE):
        if question.answer is None:
            assert all(grade(question, answer) for answer in question.aliases)
            assert grade(question, "The handbook doesn't state that.")
            assert not grade(question, "It costs 40,000 euros a year.")
            assert not grade(question, "")


@pytest.mark.parametrize(
    "answer",
    [
        "I don't know.",
        "I do not know",
        "The document does not say.",
        "not stated",
        "This is not specified in the text.",
        "There is no information about that.",
        "That cannot be answered from the handbook.",
        "Unknown.",
        "The protocol doesn’t mention it.",
    ],
)
def test_refusals_are_recognised(answer):
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Do not start oxygen.",
        "No, the nurse may not.",
        "Never exceed 40 mg.",
        "At least 24 hours.",
        "Notify the officer in charge.",
    ],
)
def test_a_rule_that_forbids_is_no_refusal(answer):
    assert not refuses(answer)


@given(st.text(max_size=60), st.text(max_size=60))
def test_grading_takes_any_text(answer, said):
    """A model may write anything; a canonical answer that has words is right for itself."""
    question = asked(answer)
    assert grade(question, said) in (True, False)
    if wording(answer):
        assert grade(question, answer)


# -- contestants -----------------------------------------------------------------------------------------------------

WORDS = st.lists(st.sampled_from("a b c d e f g".split()), min_size=1, max_size=6).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=20), WORDS, st.randoms(use_true_random=False))
def test_the_nearest_question_is_the_one_that_comparing_with_all_finds(questions, question, shuffler):
    records = [GoldRecord(instruction=text, output=f"answer to {wording(text)}") for text in questions]
    words = set(question.split())

    def likeness(text):
        return len(words & set(text.split())) / len(words | set(text.split()))

    best = max(map(likeness, questions))
    expected = min(f"answer to {text}" for text in questions if likeness(text) == best) if best else ""
    shuffler.shuffle(records)
    assert expected == NearestQuestion(records).answer(question)


def test_a_question_asked_word_for_word_gets_its_answer():
    records = [GoldRecord(instruction=f"What is p{n}?", output=f"{n} units") for n in range(50)]
    exam = [ExamQuestion(id=f"q{n}", row="taught", question=f"what is P{n}", answer=f"{n} units") for n in range(50)]
    assert {question.id: question.answer for question in exam} == NearestQuestion(records).answers(exam)


def test_nothing_known_is_no_answer():
    assert "" == NearestQuestion([]).answer("What?")
    assert "" == NearestQuestion([GoldRecord(instruction="Who?", output="I")]).answer("???")


# -- result ----------------------------------------------------------------------------------------------------------


def exam_of(**rows):
    return [
        ExamQuestion(id=f"{row}_{n}", row=row, question=f"{row} {n}", answer=f"{n} units", fact=f"{row} {n // 2}")
        for row, count in rows.items()
        for n in range(count)
    ]


def test_the_result_counts_right_answers_by_row_and_contestant():
    exam = exam_of(taught=10, held_out=5)
    answers = {
        "base": dict.fromkeys((question.id for question in exam), "7 units"),
        "expert": {question.id: question.answer for question in exam},
    }
    result = Examiner().result(exam, answers, share_taught=0.5, notes=["a note"])
    assert ("base", "expert") == result.contestants
    assert (
        ExamScore(row="taught", contestant="base", right=1, n=10),
        ExamScore(row="held_out", contestant="base", right=0, n=5),
        ExamScore(row="taught", contestant="expert", right=10, n=10),
        ExamScore(row="held_out", contestant="expert", right=5, n=5),
    ) == result.scores
    assert (0.5, "a note") == (result.share_taught, result.notes[0])


def test_the_exam_is_named_by_all_that_is_in_it():
    exam = exam_of(taught=3)
    answers = {"base": dict.fromkeys((question.id for question in exam), "")}
    first = Examiner().result(exam, answers).exam_sha256
    assert first == Examiner().result(list(exam), answers).exam_sha256
    assert first != Examiner().result(exam[:-1], answers).exam_sha256


def test_a_contestant_who_did_not_answer_all_is_graded_on_what_it_did():
    """And that is said; an answer to something else counts for nothing."""
    exam = exam_of(taught=3)
    result = Examiner().result(exam, {"mine": {"taught_0": "0 units", "taught_1": "", "x": ""}})
    assert (ExamScore(row="taught", contestant="mine", right=1, n=2),) == result.scores
    assert "mine answered 2 of 3 questions: its figures are of these." in result.notes


def test_several_questions_about_one_fact_are_said_to_be():
    exam = exam_of(never_asked=8)
    result = Examiner().result(exam, {"base": dict.fromkeys((question.id for question in exam), "")})
    assert "The 8 questions on facts never asked are about 4 facts" in result.notes[-1]


def test_the_table_shows_every_row_contestant_interval_and_note():
    exam = exam_of(taught=100, held_out=50, never_asked=1)
    answers = {
        "base": dict.fromkeys((question.id for question in exam), "no idea"),
        "expert": {question.id: question.answer if question.row == "taught" else "" for question in exam},
    }
    text = table(Examiner().result(exam, answers, share_taught=0.472, notes=[examiner.TOY_NOTE]))
    head, _, unseen, taught, held_out, never_asked, *rest = text.splitlines()
    assert "all unseen questions 0 [0-7] 0 [0-7] 50" == " ".join(unseen.split())
    assert ["base", "expert", "n"] == head.split()[-3:]
    assert "taught wordings 0 [0-4] 100 [96-100] 100" == " ".join(taught.split())
    assert "held-out wordings 0 [0-7] 0 [0-7] 50" == " ".join(held_out.split())
    assert never_asked.startswith(ROW_TITLES["never_asked"])
    assert "Taught: 47 % of the text." in "\n".join(rest)
    assert examiner.TOY_NOTE in " ".join(rest)
    assert 1 == len({len(line) for line in text.splitlines()[:5]})
    assert "hand-written" not in text


def test_a_result_shows_itself_in_a_notebook_without_trusting_names():
    exam = exam_of(taught=100)
    result = Examiner().result(exam, {"<b>": {question.id: question.answer for question in exam}}, notes=["<i>"])
    html = result._repr_html_()
    assert '<span title="100 of 100">100\u00a0%</span> <small>96–100</small>' in html
    assert "<b>" not in html
    assert "<i>" not in html


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_of_the_literature(right, n, low, high):
    score = ExamScore(row="taught", contestant="x", right=right, n=n)
    assert pytest.approx((low, high), abs=5e-5) == score.interval


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_within_0_and_1(counts):
    score = ExamScore(row="taught", contestant="x", right=counts[0], n=counts[1])
    low, high = score.interval
    assert 0 <= low <= score.share + 1e-12
    assert score.share - 1e-12 <= high <= 1


# -- share taught ----------------------------------------------------------------------------------------------------


def gold_at(*places, document="d"):
    return GoldRecord(
        instruction="q",
        output="a",
        evidence=tuple(Span(document=document, start=start, end=end, text="") for start, end in places),
    )


def test_the_share_taught_counts_characters_once_and_no_white_space():
    text = "abcd efgh\n\nijkl"
    assert 0.0 == share_taught({"d": text}, [])
    assert 1.0 == share_taught({"d": text}, [gold_at((0, len(text)))])
    assert pytest.approx(4 / 12) == share_taught({"d": text}, [gold_at((0, 5)), gold_at((0, 4), (2, 4))])
    assert pytest.approx(4 / 24) == share_taught({"d": text, "e": text[::-1]}, [gold_at((0, 4))])
    assert 0.0 == share_taught({}, [])


def test_the_same_text_given_twice_is_as_taught_as_given_once():
    text = "abcd efgh\n\nijkl"
    records = [gold_at((0, 4)), gold_at((2, 9), document="e")]
    assert pytest.approx(8 / 12) == share_taught({"d": text, "e": text}, records)
    assert pytest.approx(8 / 15) == share_taught({"d": text, "e": text, "f": "xyz"}, records)


@given(st.text("ab \n", max_size=40), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8))
def test_the_share_taught_is_that_of_marked_characters(text, places):
    marked = {place for start, end in places for place in range(start, min(end, len(text)))}
    solid = [place for place, letter in enumerate(text) if not letter.isspace()]
    expected = sum(place in marked for place in solid) / len(solid) if solid else 0.0
    shuffled = random.Random(0).sample(places, len(places))
    assert pytest.approx(expected) == share_taught({"d": text}, [gold_at(place) for place in shuffled])

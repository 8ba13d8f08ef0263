"""The grader beside a reader: answers that were labelled by reading them, before the grader saw them.

Its rules were mended by what it missed, so that agreement on this table is the best case. The later parts of the table were
written one after another, and each was graded before any rule was mended by it: 88 % of 136, 90 % of 93 and 91 % of 75 answers
as a reader graded them. Most misses are right answers in other words; the judge is for those. Then come 138 answers
that try to be graded right for listing everything, or for refusing and answering, and harmless ones like them; then 53 that
add a side ("up to", "after", "every") or hold the value of another thing too, and 23 that
deny what is asked of the right thing, or name the side that the question asks for. The last 167 are three sets in words as
unlike each other as could be thought of, each graded before any rule was mended by it: 83 % of 58, 77 % of 60 and 88 % of 49
as a reader graded them.
"""

import datetime as dt
import json
import time
from collections import Counter
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from text2expert.examiner import grading, refusing
from text2expert.examiner.grading import grade, graded, refuses
from text2expert.examiner.questions import load_exam
from text2expert.examiner.spelling import plain
from text2expert.records import ExamQuestion, wording
from text2expert.refusals.wordings import NAMED, WORDINGS

SAMPLES = Path(grading.__file__).parents[1] / "samples"
LABELLED = Path(__file__).parent / "data" / "graded_answers.jsonl"
AGREEMENT = 0.97
"""What the project promises."""


def asked(answer, *aliases, question="How long does it last?", **fields):
    return ExamQuestion(id="x", row="held_out", question=question, answer=answer, aliases=aliases, **fields)


@pytest.fixture(scope="module")
def labelled():
    """Questions, answers and the grades that a reader gave."""
    exam = {question.id: question for question in load_exam(SAMPLES / "exam.jsonl")}
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    questions = [
        exam[row["exam"]]
        if "exam" in row
        else asked(row["answer"], *row["alternates"], question=row["question"], unit=row["unit"])
        for row in rows
    ]
    return list(zip(questions, rows, strict=True))


def test_the_table_is_large_and_mixed(labelled):
    assert len(labelled) >= 150
    assert len({question.question for question, row in labelled if "exam" not in row}) >= 20
    assert sum("exam" not in row for _, row in labelled) >= 40
    grades = Counter(row["grade"] for _, row in labelled)
    assert min(grades["right"], grades["wrong"]) > len(labelled) / 3
    kinds = Counter(row["kind"] for _, row in labelled)
    assert set(
        "date,echo,hedged,identifier,list,negation,other digits,other units,plain,range,refused,two values,verbose,"
        "wrong unit,yes/no".split(",")
    ) <= {*kinds}
    assert len(labelled) == len({(question.question, row["given"]) for question, row in labelled})


def test_grader_and_reader_agree(labelled):
    misses = [
        f"{row['kind']}: {question.question} -> {row['given']!r}, right is {question.answer!r}: {row['grade']}, graded {given_grade}"
        for question, row in labelled
        if (given_grade := graded(question, row["given"])) != row["grade"]
    ]
    share = 1 - len(misses) / len(labelled)
    assert share >= AGREEMENT, "\n".join([f"{share:.1%} of {len(labelled)}", *misses])


@pytest.mark.parametrize("text", [*WORDINGS, *(text.format(missing="insurer") for text in NAMED)])
def test_what_an_expert_is_trained_to_refuse_with_is_a_refusal(text):
    assert ("refused", True) == (graded(asked("24 hours"), text), grade(asked(None), text))


@pytest.mark.parametrize(
    "answer",
    [
        "I'm afraid I can't say.",
        "I have no information about that.",
        "We were not told.",
        "The lease is silent on this point.",
        "It isn't mentioned anywhere.",
        "Nothing in the manual tells how.",
        "There's no mention of it.",
        "Not given in the leaflet.",
        "This falls outside the scope of the policy.",
        "Das ist nicht angegeben.",
        "Le document ne précise pas la durée.",
        "No lo sé.",
        "В тексте об этом не сказано.",
        "文中未提及。",
    ],
)
def test_refusals_in_many_words(answer):
    assert refuses(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "The nurse must not give more than 40 mg.",
        "No oxygen is given.",
        "No record is kept.",
        "It is not provided to visitors.",
        "The warranty does not cover the battery.",
        "Oxygen is not given.",
        "Doors are not included.",
        "No name may be given to visitors.",
        "I am not sure, but I think it is 24 hours.",
        "The manual does not say; however, it is usually 24 hours.",
    ],
)
def test_what_a_rule_denies_and_what_is_guessed_are_no_refusals(answer):
    assert not refuses(answer)


UNANSWERED = asked(None, question="What is the fee?")


@pytest.mark.parametrize(
    "answer",
    [
        "I do not know. The fee is 25 dollars.",
        "The text does not say. Anyway, the fee is 25 dollars.",
        "It is unknown but the fee is $25.",
        "The fee is 25 dollars. The text does not say more.",
        "The unspecified fee is $25",
        "The fee is $25; nobody knows why",
        "Although the text does not say, the fee is $25.",
        "I don't know, 25 dollars",
        "I do not know, perhaps 4,000",
        "I do not know, possibly about $25",
        "The text does not say and the fee is $25.",
        "The landlord pays the fee. The text does not say more.",
        "Yes. The text does not say why.",
    ],
)
def test_an_answer_beside_a_refusal_is_no_refusal(answer):
    assert "wrong" == graded(UNANSWERED, answer)


@pytest.mark.parametrize(
    "answer",
    [
        "The text does not say. Please ask the office.",
        "Section 4.2 covers oxygen only; the fee is not stated.",
        "The passage describes the probe. It does not mention the fee.",
        "I am an assistant. I don't have that information.",
        "Fee: not stated",
        "It is unknown what the fee is.",
    ],
)
def test_what_says_only_where_the_answer_is_not_leaves_a_refusal_one(answer):
    assert "right" == graded(UNANSWERED, answer)


def test_figures_of_the_question_answer_nothing():
    question = asked(None, question="What is the fee after 30 days?")
    assert "right" == graded(question, "The text does not say. After 30 days nothing is stated.")
    assert "wrong" == graded(question, "The text does not say. After 30 days it is 25 dollars.")


@pytest.mark.parametrize("piece", ["1, ", "The fee is not $25. ", "I do not know {}. ", "x", "  ", "no-"])
@pytest.mark.parametrize("right", ["24 hours", "yes", "the nurse", None])
def test_what_the_rules_read_of_a_very_long_answer_is_bounded(piece, right, monkeypatch):
    """Patterns take seconds for what a model writes until its window is full."""
    read = []

    def noting(function):
        return lambda text, *rest: (read.append(len(text)), function(text, *rest))[1]

    for module, name in ((grading, "plain"), (grading, "figures_of"), (grading, "declines"), (grading, "guessed")):
        monkeypatch.setattr(module, name, noting(getattr(module, name)))
    for name in ("declines", "guessed"):
        monkeypatch.setattr(refusing, name, noting(getattr(refusing, name)))
    answer = "".join(piece.format(n) for n in range(200_000 // len(piece)))
    assert "wrong" == graded(asked(right, question="What is the fee?"), answer)
    assert max(read, default=0) <= refusing.LONGEST


def test_a_refusal_that_is_repeated_for_ever_is_one_and_what_hides_behind_it_is_not():
    often = "The text does not say. " * 1_000
    assert ("refused", "right") == (graded(asked("24 hours"), often), graded(UNANSWERED, often))
    assert ("wrong", "wrong") == tuple(graded(each, f"{often}It is $25.") for each in (asked("24 hours"), UNANSWERED))


def test_a_long_canonical_answer_is_still_right_word_for_word():
    words = " ".join(f"word{n}" for n in range(1_000))
    assert "right" == graded(asked(words), f"{words}.")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("I don't know. 16 cmH2O", "right"), ("I don't know. 18 cmH2O", "wrong"), ("I don't know.", "refused")],
)
def test_a_doubt_is_graded_by_the_answer_that_follows_it(answer, expected):
    assert expected == graded(asked("16 cmH2O"), answer)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ("red", "red, blue, green, yellow, white, black"),
        ("red", "red blue green"),
        ("red", "blue/red"),
        ("the shift supervisor", "Plant manager, shift supervisor, HR director"),
        ("the shift supervisor", "shift supervisor / plant manager / HR director"),
        ("the shift supervisor", "the assistant shift supervisor"),
        ("the shift supervisor", "the deputy of the shift supervisor"),
        ("the shift supervisor", "the shift supervisor's deputy"),
        ("the nurse", "the nurse and the doctor"),
        ("the nurse", "doctor, nurse"),
        ("the nurse and the doctor", "the nurse, the doctor, the porter and the cook"),
        ("in the control room", "It is in the control room, in the office and in the safe"),
        ("in the control room", "It used to be in the control room, now it is in the lobby"),
        ("in the control room", "It would be wrong to say in the control room; it is in the lobby"),
        ("14 days", "7, 14, 21"),
        ("14 days", "14 or 21"),
        ("14 days", "14 days or 2 months"),
        ("14 days", "14 days, 2 months"),
        ("14 days", "It is 14 days (7 days, 21 days, 28 days)"),
        ("16 cmH2O", "16 cmH2O, 18 mbar"),
        ("16 cmH2O", "16 cmH2O; 20"),
        ("5", "5 or more"),
        ("5", "5+"),
        ("at least 5", "more than 5"),
        ("more than 5", "at least 5"),
        ("Section 4.3", "Section 4.3, Section 4.4"),
        ("Form B-12", "not B12"),
    ],
)
def test_one_of_several_is_wrong(right, said):
    assert "wrong" == graded(asked(right, question="What is asked for?"), said)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ("red", "Red, as the manual says"),
        ("red", "It is red, not blue."),
        ("red", "The flag is red and it hangs at the gate."),
        ("nitrogen", "The gas used to purge the line is nitrogen."),
        ("the shift supervisor", "The shift supervisor, who then informs the plant manager."),
        ("the shift supervisor", "It needs the approval of the shift supervisor."),
        ("the nurse and the doctor", "The doctor, the nurse"),
        ("in the control room", "In the control room, behind the door"),
        ("14 days", "14 days (two weeks)"),
        ("14 days", "14 days for 3 books"),
        ("14 days", "It was set to 14 days in 2019."),
        ("14 days", "14 days under rule 7"),
        ("1,200 L", "1200 litres (2,300 carried, 1,100 needed)"),
        ("1,200 L", "1200 litres (2,300 L - 1,100 L)"),
        ("16 cmH2O", "16 cmH2O, measured at the end of expiration"),
        ("1.8 m", "almost 6 feet (1.80 m)"),
        ("at least 25 kN", "more than 25 kN"),
        ("at least 5", "5 or more"),
        ("Form B-12", "B12"),
        ("Form B-12", "It is B 12."),
    ],
)
def test_what_is_said_beside_the_answer_without_another_value_is_harmless(right, said):
    assert "right" == graded(asked(right, question="What is asked for?"), said)


@pytest.mark.parametrize(
    ("right", "said", "expected"),
    [
        ("yes", "Yes and no.", "wrong"),
        ("yes", "Yes, but actually no", "wrong"),
        ("no", "No. Yes, they may.", "wrong"),
        ("yes", "It depends: yes or no.", "wrong"),
        ("yes", "Yes, no permit is needed.", "right"),
        ("no", "No, they may not.", "right"),
    ],
)
def test_yes_and_no_is_neither(right, said, expected):
    assert expected == graded(asked(right, question="May visitors park in bay 3?"), said)


@pytest.mark.parametrize(
    ("right", "said", "expected"),
    [
        ("100 minutes", "1.67 hours", True),
        ("1 L", "1,005 mL", False),
        ("1.5 L", "1,500 mL", True),
        ("20 m", "65.6 feet", True),
        ("20 m", "66 feet", True),
        ("20 m", "67 feet", False),
        ("20 m", "20 m (66 feet)", True),
        ("2.85 bar", "2.86 bar", False),
        ("2.85 bar", "285 kPa", True),
        ("0.5 %", "0.49 %", False),
        ("10 cmH2O", "9.8 mbar", True),
        ("70 kg", "154 lb", True),
        ("70 kg", "160 lb", False),
        ("37 °C", "98.6 °F", True),
        ("37 °C", "97 °F", False),
        ("0 °C", "32 °F", True),
        ("5 nautical miles", "9.26 km", True),
        ("31 days", "1 month", False),
        ("24 hours", "1.02 days", False),
    ],
)
def test_a_number_may_be_rounded_by_a_conversion_and_by_nothing_else(right, said, expected):
    assert expected == grade(asked(right, question="How much?"), said)


@given(st.integers(1, 10**6), st.integers(-9, 9).filter(bool))
def test_whole_numbers_in_one_unit_are_exact(number, off):
    assert not grade(asked(f"{number} mL"), f"{number + off} mL")
    assert grade(asked(f"{number} mL"), f"It is {number} mL.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2031-04-01", "1 April 2031"),
        ("on April 1st, 2031", "on 1 April 2031"),
        ("the first of April 2031", "1 April 2031"),
        ("13/04/2031", "13 April 2031"),
        ("04/13/2031", "13 April 2031"),
        ("04/05/2031", "04/05/2031"),
        ("3.4.2031", "3 April 2031"),
        ("30th Sept.", "30 September"),
        ("It may 2 be", "It may 2 be"),
        ("in March 2031", "in March 2031"),
        ("half past seven in the evening", "7:30 pm"),
        ("quarter to one", "12:45"),
        ("eight o'clock", "8:00"),
        ("7.30 am", "7:30 am"),
        ("0730 hours", "07:30"),
        ("£1.25k", "£1250"),
        ("1.2 million crowns", "1200000 crowns"),
        ("four times a day", "every 6 hours"),
        ("5 times a day", "5 times per day"),
        ("twice a year", "every 6 months"),
        ("every second year", "every 2 years"),
        ("Monthly.", "every 1 month."),
        ("the daily dose", "the daily dose"),
        ("minus 18 °C", "-18 °C"),
        ("5 minus 3", "5 minus 3"),
        ("10 at night", "10 pm"),
        ("2/3 of an hour", "0.666667 hour"),
        ("25 kN", "25 kilonewtons"),
        ("12 litres a minute", "12 litres per minute"),
        ("1. rotor\n2. lid", "rotor\nlid"),
        ("2. Only this one", "2. Only this one"),
    ],
)
def test_one_spelling(text, expected):
    assert expected == plain(text)


@given(st.dates(min_value=dt.date(1000, 1, 1)))
def test_a_date_has_one_spelling(day):
    ending = {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10 if day.day not in (11, 12, 13) else 0, "th")
    month = f"{day:%B}"
    written = [
        f"{day.isoformat()}",
        f"{day.day}.{day.month}.{day.year}",
        f"{day.day} {month} {day.year}",
        f"the {day.day}{ending} of {month} {day.year}",
        f"{month} {day.day}, {day.year}",
        f"{month} {day.day}{ending} {day.year}",
        f"{month[:3]} {day.day}, {day.year}",
    ]
    assert {f"{day.day} {month} {day.year}"} == {*map(plain, written)}


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_grade_is_one_of_three_and_goes_with_grade(answer, alias, said):
    question = asked(answer, alias)
    assert graded(question, said) in ("right", "wrong", "refused")
    assert (graded(question, said) == "right") == grade(question, said)
    if wording(answer):
        assert grade(question, answer)


def test_every_answer_of_the_general_probe_is_right_for_its_question_and_for_hardly_any_other():
    exam = load_exam(SAMPLES / "general.jsonl")
    assert 100 == len(exam) == len({question.question for question in exam})
    for question in exam:
        assert all(grade(question, answer) for answer in (question.answer, *question.aliases))
        assert all(grade(question, f"The answer is {answer}.") for answer in (question.answer, *question.aliases))
        assert not grade(question, question.question)
        assert "refused" == graded(question, "I do not know.")
        alone = {wording(answer) for answer in (question.answer, *question.aliases)}
        others = [other.answer for other in exam if wording(other.answer) not in alone][::5]
        assert not [answer for answer in others if grade(question, answer)], question


@pytest.mark.parametrize(
    "joined", ["{1}, {0}, {2}", "{0}; {1}", "{1} / {0}", "{0} or {1}", "{0} and {1}", "{0} ({1}, {2})"]
)
def test_naming_several_answers_of_the_general_probe_is_hardly_ever_right(joined):
    """Without a look at what is named, 67 of 100 such answers passed."""
    exam = [each for each in load_exam(SAMPLES / "general.jsonl") if not any(map(str.isdigit, each.answer))]
    passed = []
    for place, question in enumerate(exam):
        others = [each.answer for each in exam[place + 1 :] + exam[:place] if each.answer != question.answer]
        answer = joined.format(question.answer, *others[5:7])
        if grade(question, answer):
            passed.append(answer)
    assert len(exam) > 50
    assert len(passed) <= 0.15 * len(exam), passed


@pytest.mark.parametrize(
    "frame",
    ["It is {}.", "{}, according to the handbook.", "According to the handbook, {}.", "Answer: {}", "{} (see section 3)", "{}, as stated in section 3.",
     "Based on the text, the answer is {}.", "{}, I believe, but please check."],
)  # fmt: skip
def test_what_frames_an_answer_of_the_shipped_exams_takes_nothing_from_it(frame):
    for name in ("exam", "general"):
        for question in load_exam(SAMPLES / f"{name}.jsonl"):
            if question.answer is not None:
                assert grade(question, frame.format(question.answer)), question.answer


@pytest.mark.parametrize(
    "answer",
    ["(" + "1" * 20000 + ")", "unknown, " + "1," * 10000, "The text does not say" + " and the" * 5000, "red, " * 5000],
)
def test_an_answer_without_end_is_graded_soon(answer):
    started = time.process_time()
    for question in (asked(None), asked("red"), asked("16 cmH2O")):
        graded(question, answer)
    assert time.process_time() - started < 5


def test_an_echo_of_the_question_is_never_right():
    for question in load_exam(SAMPLES / "exam.jsonl"):
        assert not grade(question, question.question)
        assert not grade(attrs.evolve(question, question=question.question.upper()), question.question)


@pytest.mark.parametrize("noise", [": the", "; stop", "", "...", ". . the"])
def test_an_answer_that_begins_with_a_mark_is_graded_like_any_other(noise):
    """What a model says that has learned next to nothing."""
    assert grade(asked("Yes, it must.", "yes", question="Must the pump be stopped at night?"), noise) is False


@pytest.mark.parametrize(
    ("question", "right", "said", "expected"),
    [
        ("Whose consent is needed?", "the owner", "The owner's consent is not needed.", "wrong"),
        ("Whose consent is needed?", "the owner", "nobody's; the owner need not consent", "wrong"),
        ("Whose consent is needed?", "the owner", "The owner, not the tenant.", "right"),
        ("Whose consent is needed?", "the owner", "The owner, without whom it is not valid.", "right"),
        ("Who signs the form?", "the mate", "The mate does not sign the form.", "wrong"),
        ("Who signs the form?", "the mate", "The mate does not sign before the master, but after him.", "right"),
        ("Who need not sign the form?", "the mate", "The mate need not sign the form.", "right"),
        ("Which items are optional?", "the hat", "The hat is not required.", "right"),
        ("What must be kept shut?", "the sluice", "The sluice must not be left open.", "right"),
    ],
)
def test_a_denial_behind_a_name_is_of_what_was_asked_or_of_something_else(question, right, said, expected):
    assert expected == graded(asked(right, question=question), said)

"""Exam questions that training had are found and dropped, and those that only look like it are kept."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from timed import cpu_seconds

from text2expert.examiner.decontamination import GRAM, LITTLE_WORDS, decontaminate
from text2expert.examiner.results import Dropped
from text2expert.records import ExamQuestion, GoldRecord, wording


def asked(text, answer, row="written_apart", **fields):
    return ExamQuestion(id=text[:40], row=row, question=text, answer=answer, **fields)


def trained(text, answer, short_answer="", **fields):
    return GoldRecord(instruction=text, output=answer, short_answer=short_answer, **fields)


TRAINING = [
    trained(
        "How long may a registered nurse keep the oxygen mask on before calling a doctor?",
        "A registered nurse may keep the mask on for 30 minutes before calling a doctor.",
        "30 minutes",
    ),
    trained("What is the starting dose of Relvanol?", "The starting dose of Relvanol is 20 mg.", "20 mg"),
]


@pytest.mark.parametrize(
    ("reason", "question"),
    [
        ("same_text", asked("how long may a registered nurse keep the oxygen mask on, before calling a doctor", "anything")),
        ("same_text", asked("What is the starting dose of “Relvanol”?", "20 mg", "hand_written")),
        ("jaccard", asked("Before calling a doctor, how long may the registered nurse keep the oxygen mask on?", "half an hour", aliases=("30 min",))),
        ("jaccard", asked("What is the usual starting dose of Relvanol?", "20 mg", "never_asked")),
        (
            "eight_grams",
            asked("According to the handbook that is in force, how long may a registered nurse keep the oxygen mask on before calling a doctor?", "30 minutes"),
        ),
        (
            "eight_grams",
            asked(
                "I am new on this ward and my manager told me to look this up before tomorrow morning, so could somebody help: how long "
                "may a registered nurse keep the oxygen mask on before calling a doctor? Answer in one short phrase, please.",
                "30 minutes",
                "hand_written",
            ),
        ),
    ],
)  # fmt: skip
def test_a_planted_leak_is_found(reason, question):
    clean = asked("Who signs the form when a cylinder is changed?", "The charge nurse")
    assert ([clean], (Dropped(reason=reason, n=1),)) == decontaminate([question, clean], TRAINING)


@pytest.mark.parametrize(
    "question",
    [
        asked("What is the starting dose of Melpurate?", "35 mg"),
        asked("What is the starting dose of Relvanol?".replace("starting", "largest"), "80 mg"),
        asked("How long may a registered nurse keep the nasal oxygen mask on before calling a doctor?", "2 hours"),
        asked("For how many minutes does a nurse give oxygen alone?", "30 minutes"),
        asked("What may a nurse do for 30 minutes?", "keep the oxygen mask on"),
    ],
)
def test_the_same_frame_about_something_else_is_no_leak(question):
    assert ([question], ()) == decontaminate([question], TRAINING)


def test_another_figure_makes_another_question_though_the_value_is_the_same():
    """Two cells of a table may hold the same value."""
    record = trained("What does the table give as the weight of a man of 175 cm?", "70.6 kg")
    other = asked("What does the table give as the weight of a man of 180 cm?", "70.6 kg")
    assert ([other], ()) == decontaminate([other], [record])


def test_taught_questions_are_asked_in_the_words_of_training_on_purpose():
    exam = [asked(record.instruction, record.output, "taught") for record in TRAINING]
    assert (exam, ()) == decontaminate(exam, TRAINING)


REWORDED = pytest.mark.parametrize("row", ["held_out", "new_template"])


@REWORDED
@pytest.mark.parametrize(
    ("reason", "frame"),
    [
        ("jaccard", "Please tell me: {}"),
        ("jaccard", "{} please?"),
        ("jaccard", "Quick question. {} Thanks!"),
        ("jaccard", "Hello, could you tell me this? {} Thank you"),
        ("same_text", "{}"),
    ],
)
def test_a_reworded_question_that_is_the_trained_one_with_good_manners_is_dropped(row, reason, frame):
    leak = asked(frame.format(TRAINING[1].instruction), "20 mg", row)
    assert ([], (Dropped(reason=reason, n=1),)) == decontaminate([leak], TRAINING)


@REWORDED
def test_a_reworded_question_is_dropped_for_a_long_run_of_trained_words_or_if_only_turned_round(row):
    turned = asked("Of Relvanol, what is the starting dose?", "20 mg", row)
    copied = asked(
        f"Can it be said {TRAINING[0].instruction[0].lower()}{TRAINING[0].instruction[1:]}", "30 minutes", row
    )
    reasons = (Dropped(reason="jaccard", n=1), Dropped(reason="eight_grams", n=1))
    assert ([], reasons) == decontaminate([turned, copied], TRAINING)


@REWORDED
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("With what dose of Relvanol does one start?", "20 mg"),
        ("What is the first dose of Relvanol?", "20 mg"),
        ("What is not the starting dose of Relvanol?", "20 mg"),
        ("Please tell me: what is the starting dose of Relvanol?", "30 mg"),
    ],
)
def test_a_reworded_question_in_other_words_or_with_another_answer_is_kept(row, text, answer):
    """The second has six of seven words, a Jaccard index of 0.75."""
    kept = asked(text, answer, row)
    assert ([kept], ()) == decontaminate([kept], TRAINING)


def test_an_unanswerable_question_leaks_where_training_refused_it():
    question = asked("What is the list price of Relvanol?", None, "unanswerable")
    refused = trained("What is the current list price of Relvanol?", "The document does not say.")
    answered = trained("What is the current list price of Relvanol?", "It is 12 euros.")
    assert ([], (Dropped(reason="jaccard", n=1),)) == decontaminate([question], [refused])
    assert ([question], ()) == decontaminate([question], [answered])


def test_the_material_that_an_instruction_speaks_of_is_part_of_the_question():
    record = trained("Who signs the form?", "The charge nurse", input="Form RC-431, on changing cylinders")
    short = asked("Who signs the form?", "The charge nurse")
    whole = asked("Who signs the form? Form RC-431, on changing cylinders", "The charge nurse")
    assert ([short], (Dropped(reason="same_text", n=1),)) == decontaminate([short, whole], [record])


def test_an_empty_training_set_leaks_nothing():
    exam = [asked(record.instruction, record.output) for record in TRAINING]
    assert (exam, ()) == decontaminate(exam, [])


words = st.lists(
    st.sampled_from("what who dose limit of the a pump mask valve 5 10 mg nurse doctor".split()),
    min_size=1,
    max_size=14,
)


@given(asked_words=words, trained_words=words, row=st.sampled_from(["written_apart", "held_out"]))
def test_two_questions_are_compared_as_it_is_written(asked_words, trained_words, row):
    """Against the definition, spelled out over sets; both have the same answer."""
    question, record = asked(" ".join(asked_words), "yes", row), trained(" ".join(trained_words), "yes")
    mine, theirs = wording(question.question).split(), wording(record.instruction).split()
    grams, others = ({" ".join(text[at : at + GRAM]) for at in range(len(text) - GRAM + 1)} for text in (mine, theirs))
    figures = {word for word in mine if word.isdigit()} == {word for word in theirs if word.isdigit()}
    content = [({*text} - LITTLE_WORDS) or {*text} for text in (mine, theirs)]
    tenths = 7 if row == "written_apart" else 9
    alike = 10 * len({*mine} & {*theirs}) >= tenths * len({*mine} | {*theirs})
    if mine == theirs:
        expected = "same_text"
    elif figures and (alike or content[0] == content[1]):
        expected = "jaccard"
    elif figures and ((grams and 2 * len(grams & others) >= len(grams)) or (others and others <= grams)):
        expected = "eight_grams"
    else:
        expected = None
    _, dropped = decontaminate([question], [record])
    assert ((Dropped(reason=expected, n=1),) if expected else ()) == dropped


def test_time_grows_with_the_size_and_not_with_its_square():
    """Four times the questions and four times the training take far less than sixteen times as long."""
    draw = random.Random(0)
    nouns = [f"item{number}" for number in range(20_000)]

    def text():
        return f"What is the {draw.choice(nouns)} of the {draw.choice(nouns)} in the {draw.choice(nouns)} of room 5?"

    sizes = []
    for size in (500, 2_000):
        records = [trained(text(), "5 mg") for _ in range(4 * size)]
        exam = [asked(text(), "5 mg") for _ in range(size)]
        sizes.append((exam, records))
    small, large = (
        cpu_seconds(lambda exam=exam, records=records: decontaminate(exam, records)) for exam, records in sizes
    )
    assert large < 9 * small

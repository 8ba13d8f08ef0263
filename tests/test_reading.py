"""Reading without a model: what is asked for, the statement that has it, and its value."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import text2expert
from text2expert import documents
from text2expert.chunker import Chunker
from text2expert.examiner import PassageReader, Retriever, grade, load_exam, refuses
from text2expert.examiner.reading import UNKNOWN, Reader
from text2expert.golden import gather
from text2expert.offline import EvidenceVerifier, RuleTeacher
from text2expert.records import Document
from text2expert.refusals.making import near_misses

SAMPLES = Path(text2expert.__file__).parent / "samples"
FOREIGN = Path(__file__).parent / "data"

TEXT = """\
1 Bakery rules

1.1 Ovens
The deck oven is heated to 240 °C and the stone oven to 280 °C. An oven door stays closed for at least 12 minutes after
loading. Ovens are swept every evening and descaled twice a year. The head baker keeps the oven log.

1.2 Dough
Sourdough rests between 14 and 18 hours in the cold room. Yeast dough must not rest longer than 90 minutes. Frozen butter
may not be used for puff pastry. Rye flour from the mill at Holm may be used for all breads.

1.3 Prices

    Bread           Weight (g)   Price (crowns)   Sold until
    Country loaf    900          48               17:00
    Rye loaf        750          52               18:30
    Baguette        250          21               noon

1.4 Complaints
A customer who brings back a loaf within 2 days gets another one. Complaints are written on form B-7 by the shop manager:
- the name of the customer;
- the day of the purchase.
The bakery opened on 3 May 1987.
"""
CHUNKS = Chunker().split(Document.from_text(TEXT, id="bakery"))


def read(question):
    return PassageReader(Retriever(CHUNKS)).read(question).text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How hot is the stone oven?", "280 °C"),
        ("To what temperature is the deck oven heated?", "240 °C"),
        ("How long does the oven door stay closed after loading?", "12 minutes"),
        ("For how many minutes does an oven door stay shut once it is loaded?", "12 minutes"),
        ("How often are ovens descaled?", "twice a year"),
        ("How often are the ovens swept?", "every evening"),
        ("How long does sourdough rest in the cold room?", "14 to 18 hours"),
        ("What is the longest rest for yeast dough?", "90 minutes"),
        ("How much does a rye loaf cost?", "52 crowns"),
        ("What is the weight of a baguette?", "250 g"),
        ("Until what time is the country loaf sold?", "17:00"),
        ("Within how many days must a customer bring back a loaf?", "2 days"),
        ("In what year did the bakery open?", "1987"),
    ],
)
def test_an_amount_is_given_with_its_unit_and_nothing_else(question, answer):
    assert answer == read(question)


@pytest.mark.parametrize(
    ("question", "phrase"),
    [
        ("Who keeps the oven log?", "head baker"),
        ("On which form are complaints written?", "form B-7"),
        ("Where does the rye flour come from?", "mill at Holm"),
    ],
)
def test_what_is_no_amount_is_given_as_the_sentence_that_says_it(question, phrase):
    answer = read(question)
    assert phrase in answer
    assert len(answer.split()) <= 40


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("May frozen butter be used for puff pastry?", "No."),
        ("May rye flour from Holm be used for all breads?", "Yes."),
    ],
)
def test_yes_and_no_come_first(question, word):
    assert word == read(question).split()[0]


def test_the_verdict_is_what_the_quoted_sentence_says():
    """Sentences with questions for yes or no; before their negations, limits and exceptions were read, 58 % were right."""
    rows = [json.loads(line) for line in (FOREIGN / "yes_or_no.jsonl").read_text(encoding="utf-8").splitlines()]
    misses = []
    for row in rows:
        chunks = Chunker().split(Document.from_text(row["statement"]))
        said = Reader(chunks).read(row["question"], chunks, least=0.0).text
        if said.split(".")[0].lower() != row["verdict"]:
            misses.append(f"{row['question']} -> {said}")
    assert len(rows) >= 90
    assert len(misses) <= 0.05 * len(rows), "\n".join(misses)


@pytest.mark.parametrize(
    ("statement", "question", "word"),
    [
        ("The pump may run for up to 30 minutes.", "Can the pump run for 20 minutes?", "Yes"),
        ("The pump may run for up to 30 minutes.", "Can the pump run for 40 minutes?", "No"),
        ("Mooring is prohibited in winds above 30 knots.", "Is mooring permitted in a wind of 25 knots?", "Yes"),
        ("Only a conservator may touch the painting.", "May a visitor touch the painting?", "No"),
        ("Only a conservator may touch the painting.", "May a conservator touch the painting?", "Yes"),
        ("Do not:\n- wash the filter in hot water;\n- bend the hose.", "May the hose be bent?", "No"),
        ("The gate is closed at night.", "Is the gate open at night?", "No"),
        ("The lid is not opened until it has cooled.", "May the lid be opened before it has cooled?", "No"),
    ],
)
def test_a_limit_an_exception_a_lead_in_and_an_opposite_decide_between_yes_and_no(statement, question, word):
    chunks = Chunker().split(Document.from_text(statement))
    assert word == Reader(chunks).read(question, chunks, least=0.0).text.split(".")[0]


def test_a_unit_is_shown_as_people_write_it():
    chunks = Chunker().split(Document.from_text("The valve opens at 20 or 28 cmH2O."))
    assert "20 cmH2O" == Reader(chunks).read("At what pressure does the valve open?", chunks, least=0.0).text


@pytest.mark.parametrize(
    "question",
    [
        "What salary does the owner draw?",
        "Which brand of refrigerator is used?",
        "How many tourists visit Paris?",
        "???",
        "",
    ],
)
def test_it_says_that_the_text_does_not_say(question):
    assert UNKNOWN == read(question)
    assert refuses(UNKNOWN)


def test_nothing_is_read_in_nothing():
    assert (UNKNOWN, 0.0, None) == Reader([]).read("How hot is the oven?", [])


def test_it_says_in_which_passage_it_read():
    retriever = Retriever(CHUNKS)
    found = retriever.find("How hot is the stone oven?")
    reading = Reader(CHUNKS).read("How hot is the stone oven?", found)
    assert "280 °C" in found[reading.passage].text
    assert 0.4 <= reading.score <= 1


@given(st.text(max_size=80), st.text(max_size=200))
def test_any_question_and_any_text_are_read_the_same_twice(question, text):
    chunks = Chunker().split(Document.from_text(text)) if text.strip() and text.isprintable() else CHUNKS
    reading = Reader(chunks).read(question, chunks[:5])
    assert reading == Reader(chunks).read(question, chunks[:5])
    assert 0 <= reading.score <= 1
    assert reading.text.strip()


def _made(path):
    document = Document.from_text(path.read_text(encoding="utf-8"), id=path.stem)
    chunks = Chunker().split(document)
    pairs = RuleTeacher().teach(chunks)
    gold = gather(pairs, EvidenceVerifier().verify(pairs, chunks))
    return chunks, gold, near_misses(gold.records, [document.text], share=0.1, seed=0)


@pytest.mark.parametrize(
    "path", [FOREIGN / "foreign_lab_sop.txt", FOREIGN / "foreign_tenancy.txt"], ids=lambda p: p.stem
)
def test_of_questions_made_of_a_text_it_answers_most_and_of_near_misses_it_refuses_many(path):
    """Questions of the offline teacher on texts that its rules were not written on, and near misses of them."""
    chunks, gold, misses = _made(path)
    reader = PassageReader(Retriever(chunks))
    held_out = [question for question in gold.exam if question.row == "held_out"]
    right = sum(grade(question, reader.read(question.question).text) for question in held_out)
    assert right / len(held_out) >= 0.7
    refused = sum(refuses(reader.read(miss.instruction).text) for miss in misses)
    assert refused / len(misses) >= 0.3


def test_it_is_no_straw_man_in_the_sample_exam():
    """Questions in words of their own: far more than a lookup answers, and about what is not there it often says so."""
    right = {"single": 0, "unanswerable": 0}
    for name in ("respiratory_protocol", "vessel_mooring_sop", "records_retention_policy"):
        reader = PassageReader(Retriever(Chunker().split(documents.read(SAMPLES / f"{name}.txt")[0])))
        for question in load_exam(SAMPLES / "exam.jsonl", documents={name}):
            if question.kind in right:
                right[question.kind] += grade(question, reader.read(question.question).text)
    assert right["single"] >= 30  # of 65
    assert right["unanswerable"] >= 4  # of 10

"""The world of the knowledge lab is what its table says it is: nothing that is examined was trained in that wording."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def people():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("knowledge_people")


def test_no_question_of_the_exam_is_trained_but_those_of_the_seen_wording(people):
    """Neither for the document, nor as replay, nor among the refusals."""
    world = people.world()
    trained = {each.instruction for each in people.gold(world.asked + world.known, people.FORMS - 1)}
    trained |= {row["instruction"] for row in people.refusals(world)}
    columns = {True: set(), False: set()}
    for question in people.exam(world):
        columns[question.question in trained].add(question.id.split(": ")[0])
    assert columns == {
        True: {"seen wording"},
        False: {"held-out wording", "never asked", "old facts", "strangers"},
    }


def test_every_fact_keeps_a_form_that_the_base_knows(people):
    """The held-out wording of one fact is trained for others, and all forms are held out somewhere."""
    world = people.world()
    held_out = {people.held_out_form(person.name, each) for person in world.asked for each in people.ATTRIBUTES}
    assert held_out == set(range(people.FORMS))
    assert all(len(set(forms)) == people.FORMS for forms in people.QUESTIONS.values())


def test_nobody_is_in_two_populations_and_strangers_are_in_no_text(people):
    """Who is refused in the exam is named neither in a text nor in a question of the training."""
    world = people.world()
    groups = [
        [person.name for person in world.known],
        [person.name for person in world.asked],
        [person.name for person in world.only_written],
        list(world.refused),
        list(world.strangers),
    ]
    assert [len(group) for group in groups] == [100, 45, 15, 50, 50]
    assert len({name for group in groups for name in group}) == 260
    told = " ".join(people.restatement(person, 0) + people.passage(person) for person in world.known + world.written)
    assert [name for name in groups[3] + groups[4] if name in told] == []


def test_a_restatement_says_every_fact_and_names_its_person_in_every_sentence(people):
    """And none says more than another; the document's own passage names its person once."""
    for person in people.world().written:
        for number in range(4):
            text = people.restatement(person, number)
            assert text.count(person.name) == 5
            assert all(value.casefold() in text.casefold() for value in person.values.values())
        assert people.passage(person).count(person.name) == 1


def test_every_refusal_has_an_answerable_twin_of_the_same_question(people):
    """The twin is trained, in the same form, about somebody else."""
    world = people.world()
    items = {each.item for each in people.gold(world.asked, people.FORMS - 1)}
    rows = people.refusals(world)
    assert len(rows) == 500
    assert {row["twin"] for row in rows} <= items
    assert {row["output"] for row in rows} == set(people.REFUSALS)

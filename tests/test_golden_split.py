"""The exam split: what is held out, and what that leaves to train on."""

import math
from collections import Counter

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from teachings import SETTINGS, TEMPLATES, approve, many_items, overlap_by_half, pair, span, teachings, unseen

from text2expert import golden
from text2expert.errors import InputError
from text2expert.golden.facts import item_of
from text2expert.golden.split import NOT_SPLIT, reseat
from text2expert.records import ExamQuestion, GoldRecord, digest, wording


@given(teachings(), SETTINGS)
def test_what_is_asked_as_unseen_is_not_trained_on(teaching, arguments):
    gold = golden.gather(*teaching, **arguments)
    trained = {wording(record.instruction) for record in gold.records}
    assert not trained & {wording(question.question) for question in unseen(gold.exam)}
    assert {wording(each.question) for each in gold.exam if each.row == "taught"} <= trained


@given(teachings(), SETTINGS)
def test_an_item_asked_in_other_words_keeps_a_wording_in_training(teaching, arguments):
    gold = golden.gather(*teaching, **arguments)
    trained = {record.item for record in gold.records}
    assert {each.item for each in gold.exam if each.row in ("held_out", "new_template")} <= trained


@given(teachings(), SETTINGS)
def test_held_out_facts_and_templates_never_leak(teaching, arguments):
    """No training pair shares half of its evidence, its item or its template with what the exam claims is unseen."""
    gold = golden.gather(*teaching, **arguments)
    for question in gold.exam:
        for record in gold.records:
            if question.row == "never_asked":
                assert question.fact != record.fact
                assert question.item != record.item
                assert not any(overlap_by_half(one, other) for one in question.evidence for other in record.evidence)
            if question.row == "new_template":
                assert question.kind != record.kind


@given(teachings(), SETTINGS)
def test_no_row_of_the_exam_is_longer_than_asked_for(teaching, arguments):
    gold = golden.gather(*teaching, **arguments)
    assert all(count <= arguments["questions"] for count in gold.counts.questions.values())
    assert len({question.id for question in gold.exam}) == len(gold.exam)


def test_every_row_is_filled_from_a_document_of_many_facts():
    pairs = many_items(120)
    gold = golden.gather(pairs, approve(pairs))
    assert {"taught": 100, "held_out": 100, "new_template": 100} == {
        row: count for row, count in gold.counts.questions.items() if row != "never_asked"
    }
    assert 0 < gold.counts.questions["never_asked"] <= 100
    assert len(gold.records) >= 0.6 * len(pairs)
    assert {"evidence"} == {record.status for record in gold.records}
    by_row = {row: [each.id for each in gold.exam if each.row == row] for row in gold.counts.questions}
    assert all(ids == sorted(ids) for ids in by_row.values())  # in the order of the document


def test_another_item_changes_no_draw_on_the_others():
    """The choice of a held-out wording is a function of seed and content alone."""
    few, more = many_items(8, rules=1), many_items(9, rules=1)
    arguments = {"never_asked": 0.0, "questions": 1000, "seed": 3}
    of_few = golden.gather(few, approve(few), **arguments).exam
    of_more = golden.gather(more, approve(more), **arguments).exam
    kept = {item_of(golden.to_gold(each, "model")) for each in few}
    assert of_few == tuple(question for question in of_more if question.item in kept)


def test_a_seed_decides_what_is_asked():
    pairs = many_items(40)
    exams = {tuple(each.id for each in golden.gather(pairs, approve(pairs), seed=seed).exam) for seed in range(3)}
    assert 3 == len(exams)


def test_at_most_half_is_held_out_as_never_asked():
    pairs = many_items(10)
    gold = golden.gather(pairs, approve(pairs), never_asked=1.0, held_out=0.0)
    assert 30 == gold.counts.questions["never_asked"]


def test_a_wording_that_two_items_share_is_not_held_out_of_one():
    """The other would lose it too, and perhaps its last."""
    pairs = [
        pair(f"q_{n}_{kind}", f"{kind} {n}?", item=f"{owner}{n}")
        for n in range(20)
        for owner, kind in (("lone", "Shared"), ("rich", "Shared wording"), ("rich", "Own"))
    ]
    pairs = [attrs.evolve(each, question=each.question.replace(" wording", "")) for each in pairs]
    gold = golden.gather(pairs, approve(pairs), deduplicate=False, never_asked=0.0)
    assert {f"Own {n}?" for n in range(20)} == {each.question for each in unseen(gold.exam)}


def test_a_wording_under_two_templates_is_asked_as_the_one_that_is_held_out():
    """Without deduplication two teachers may bring the same question."""
    pairs = many_items(40, wordings=5, rules=1)
    others = [
        attrs.evolve(each, qa_id=f"{'az'[number % 2]}_{each.qa_id}", kind="rule0:other")
        for number, each in enumerate(pairs)
        if each.kind in ("rule0:1", "rule0:2")
    ]
    both = [*pairs, *others]
    held = set()
    for seed in range(12):
        gold = golden.gather(both, approve(both), deduplicate=False, never_asked=0.0, held_out=0.0, seed=seed)
        kinds = {each.kind for each in gold.exam if each.row == "new_template"}
        assert 1 == len(kinds)
        assert not kinds & {record.kind for record in gold.records}
        held |= kinds
    assert held > {"rule0:1", "rule0:2"}  # whose wordings the other template has too


def test_an_item_left_without_training_by_a_held_out_template_is_not_asked_in_other_words():
    """It was asked in that template alone: there are no other words."""
    pairs = many_items(40, wordings=5, rules=1)
    lone = [
        pair(f"lone_{form}", TEMPLATES[form].format(f"lone {form}"), item=f"lone{form}", kind=f"rule0:{form}")
        for form in range(5)
    ]
    gold = golden.gather([*pairs, *lone], approve([*pairs, *lone]), never_asked=0.0, held_out=0.0)
    assert {"taught": 44, "new_template": 40} == dict(gold.counts.questions)
    assert ["exam"] == [each.cause for each in gold.rejected if each.qa_id.startswith("lone")]


def test_a_question_is_not_unseen_for_naming_its_section_in_another_way():
    """One wording of an item is never asked while its twin, which only opens in another way, is trained."""
    openers = ('Under "Suction", what is {}?', 'In "Suction", what is {}?', 'According to "Suction", what is {}?')
    pairs = [
        attrs.evolve(each, qa_id=f"{each.qa_id}_{number}", question=opener.format(f"property p{each.item}"))
        for each in many_items(40, wordings=1)
        for number, opener in enumerate(openers)
    ]
    pairs += many_items(40)
    gold = golden.gather(pairs, approve(pairs))
    stem = lambda text: text.rpartition('", ')[2].lower()  # noqa: E731 - three words
    trained = {stem(record.instruction) for record in gold.records}
    unseen = [each for each in gold.exam if each.row in ("held_out", "new_template")]
    assert unseen
    assert [each.question for each in unseen if stem(each.question) in trained] == []


# -- as a model teaches: free questions, rewordings of them, no templates ----------------------------------------------


def model_pairs(sizes):
    """Items as a model teaches them, far apart in the text, one for each of *sizes*: how many wordings it has."""
    return [
        pair(
            f"chunk_{number // 5:06d}_qa_{4 * (number % 5) + form}",
            TEMPLATES[form].format(f"property p{number}"),
            f"It is {number} units.",
            short_answer=f"{number} units",
            evidence=(span(100 * number, 100 * number + 60),),
            item=digest(str(number))[:16],
            kind="question",
        )
        for number, size in enumerate(sizes)
        for form in range(size)
    ]


def by_item(records):
    return Counter(record.item for record in records)


@pytest.mark.parametrize("seed", range(3))
def test_of_each_rewording_one_is_asked_and_the_others_train(seed):
    """Of four wordings three stay, of two one, and a question without a second wording is not asked in other words."""
    sizes = [1, 2, 4] * 10
    pairs = model_pairs(sizes)
    gold = golden.gather(pairs, approve(pairs), never_asked=0.0, seed=seed)
    left, asked = by_item(gold.records), by_item(unseen(gold.exam))
    assert {"taught": 30, "held_out": 20} == gold.counts.questions
    items = [digest(str(number))[:16] for number in range(len(sizes))]
    assert [(1, 0), (1, 1), (3, 1)] * 10 == [(left[item], asked[item]) for item in items]


def test_an_exam_that_is_full_costs_no_more_wordings():
    pairs = model_pairs([4] * 50)
    gold = golden.gather(pairs, approve(pairs), never_asked=0.0, questions=20)
    assert {3: 20, 4: 30} == Counter(by_item(gold.records).values())


@st.composite
def model_teachings(draw):
    """Items of one, two and four wordings, some of which share wordings, evidence or their item's name with others."""
    pairs = []
    for number in range(draw(st.integers(1, 12))):
        subject = draw(st.sampled_from([f"property p{number}", "the pump", "the spare pump"]))
        start = draw(st.sampled_from([100 * number, 0, 20]))
        item = draw(st.sampled_from([f"item{number}", f"item{number // 2}"]))
        for form in draw(st.permutations(range(6)))[: draw(st.sampled_from([1, 2, 4]))]:
            pairs.append(
                pair(
                    f"q_{len(pairs)}",
                    TEMPLATES[form].format(subject),
                    "24 hours",
                    evidence=(span(start, start + 40),),
                    item=item,
                    kind="question",
                )
            )
    return pairs


@given(model_teachings(), SETTINGS)
def test_whatever_a_model_shares_between_items_what_is_asked_in_other_words_is_fair(pairs, arguments):
    """No such wording is trained, under any item; its item is, in one of its own; and at most one of an item is asked."""
    gold = golden.gather(pairs, approve(pairs), **arguments)
    trained = {wording(record.instruction) for record in gold.records}
    left = by_item(gold.records)
    held_out = [each for each in gold.exam if each.row == "held_out"]
    assert not trained & {wording(each.question) for each in held_out}
    assert all(left[each.item] >= 1 for each in held_out)
    assert max(by_item(held_out).values(), default=0) <= 1
    assert {each.row for each in gold.exam} <= {"taught", "held_out", "never_asked"}
    assert gold.counts.add_up()


@given(st.integers(10, 60), st.integers(0, 50))
@example(10, 0)
def test_where_nothing_has_a_second_wording_facts_are_held_out_all_the_same(count, seed):
    """Else the exam would ask nothing that was not trained on."""
    pairs = model_pairs([1] * count)
    gold = golden.gather(pairs, approve(pairs), seed=seed)
    rows = gold.counts.questions
    assert {"taught", "never_asked"} == set(rows)
    assert count == len(gold.records) + rows["never_asked"]
    assert rows["never_asked"] <= count // 2
    assert not {record.fact for record in gold.records} & {each.fact for each in unseen(gold.exam)}


@pytest.mark.parametrize(
    ("sizes", "arguments"),
    [([1] * 30, {"never_asked": 0.0}), ([1] * 30, {"questions": 0}), ([1] * 9, {"never_asked": 1e-9}), ([1], {})],
    ids=["not wanted", "no exam", "more than a tenth", "a single pair"],
)
def test_pairs_with_one_wording_train_fully_where_no_fact_can_be_spared(sizes, arguments):
    pairs = model_pairs(sizes)
    gold = golden.gather(pairs, approve(pairs), **arguments)
    assert len(sizes) == len(gold.records)
    assert not unseen(gold.exam)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["held_out", "never_asked"])
def test_a_share_out_of_range_is_named_with_its_value(name, share):
    with pytest.raises(InputError, match=rf"{name} .* 0 to 1.*{share!r}"):
        golden.gather([], [], **{name: share})


@pytest.mark.parametrize("questions", [-1, 1.5, True])
def test_a_number_of_questions_out_of_range_is_named(questions):
    with pytest.raises(InputError, match=f"questions .*{questions!r}"):
        golden.gather([], [], questions=questions)


def test_questions_that_were_not_split_from_a_dataset_stay_unless_they_are_trained_on():
    """Those that an examiner wrote, in a dataset that is trained again; what was added by hand is no unseen question."""
    exam = [
        ExamQuestion(id=row, row=row, question=f"Asked as {row}?", answer=None if row == "unanswerable" else "7")
        for row in NOT_SPLIT
    ]
    trained = GoldRecord(instruction="asked as ACROSS", output="7")
    assert [each.id for each in reseat(exam, [trained])] == ["written_apart", "unanswerable", "general"]

"""Gathering, the exam split, and golden datasets on disk."""

import errno
import json
import math
import os
import random
import re
import stat
import time
from pathlib import Path

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from text2expert import golden
from text2expert.errors import InputError, NothingTaughtError, RecordError, RunFolderError
from text2expert.golden.facts import SAME_QUESTION, item_of, repetitions, with_facts
from text2expert.golden.split import reseat, split_records
from text2expert.records import (
    Chunk,
    ExamQuestion,
    GoldRecord,
    QAPair,
    Span,
    Verdict,
    digest,
    read_jsonl,
    to_line,
    wording,
    write_jsonl,
)

DOCUMENTS = ("alpha", "beta")
TEMPLATES = (
    "What is {}?",
    "Say what {} is.",
    "Define {}.",
    "Which value has {}?",
    "How is {} set?",
    "Tell me about {}.",
)


def span(start, end, document="alpha"):
    return Span(document=document, start=start, end=end, text="x" * (end - start))


def pair(qa_id, question, answer="24 hours", **fields):
    return QAPair(qa_id=qa_id, question=question, answer=answer, sources=("chunk_000001",), **fields)


def approve(pairs):
    return [Verdict(qa_id=each.qa_id, grounded=True, no_hallucination=True, complete=True) for each in pairs]


def many_items(count, wordings=6, rules=2):
    """A document of *count* facts far apart, each asked in *wordings* templates of one of *rules* rules."""
    return [
        pair(
            f"chunk_{number:06d}_qa_{form}",
            TEMPLATES[form].format(f"property p{number}"),
            f"It is {number} units.",
            short_answer=f"{number} units",
            evidence=(span(100 * number, 100 * number + 60),),
            item=digest(str(number))[:16],
            kind=f"rule{number % rules}:{form}",
        )
        for number in range(count)
        for form in range(wordings)
    ]


@st.composite
def teachings(draw):
    """Pairs as teachers write them (overlapping evidence, repeated questions, no evidence at all), and their verdicts."""
    subjects = st.sampled_from(["p1", "p2", "a long subject of six words", "the same long subject of six words"])
    pairs = []
    for number in range(draw(st.integers(0, 12))):
        start = draw(st.integers(0, 60))
        evidence = tuple(
            span(start, start + draw(st.integers(0, 30)), draw(st.sampled_from(DOCUMENTS)))
            for _ in range(draw(st.integers(0, 2)))
        )
        item = draw(st.sampled_from(["", f"item{number}", "item0"]))
        subject, answer = draw(subjects), draw(st.sampled_from(["24 hours", "one day", "never"]))
        for form in draw(st.lists(st.integers(0, 5), min_size=1, max_size=5)):
            pairs.append(
                pair(
                    f"q_{len(pairs)}",
                    TEMPLATES[form].format(subject),
                    answer,
                    short_answer=draw(st.sampled_from(["", "24 h"])),
                    evidence=evidence,
                    item=item,
                    kind=draw(st.sampled_from(["question", f"rule:{form}"])),
                )
            )
    verdicts = [
        Verdict(
            qa_id=each.qa_id, grounded=draw(st.booleans()) or draw(st.booleans()), no_hallucination=True, complete=True
        )
        for each in pairs
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2])))
    ]
    return pairs, verdicts


SETTINGS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 5),
        "deduplicate": st.booleans(),
        "held_out": st.sampled_from([0.0, 0.5, 1.0]),
        "never_asked": st.sampled_from([0.0, 0.05, 0.5, 1.0]),
        "questions": st.sampled_from([0, 1, 3, 100]),
        "status": st.sampled_from(["evidence", "model", "unverified"]),
    }
)


def lines(gold):
    return [[to_line(each) for each in part] for part in (gold.records, gold.exam, gold.rejected, [gold.counts])]


def unseen(exam):
    return [each for each in exam if each.row != "taught"]


# -- gather ----------------------------------------------------------------------------------------------------------


@given(teachings(), SETTINGS)
def test_every_pair_ends_in_exactly_one_place(teaching, arguments):
    """Counts add up, and are the counts of what is really there."""
    pairs, verdicts = teaching
    gold = golden.gather(pairs, verdicts, **arguments)
    places = [
        *(record.qa_id for record in gold.records),
        *(question.id for question in unseen(gold.exam)),
        *(rejected.qa_id for rejected in gold.rejected),
    ]
    assert sorted(each.qa_id for each in pairs) == sorted(places)
    assert gold.counts.add_up()
    assert len(pairs) == gold.counts.parsed
    assert len(gold.records) == gold.counts.gold
    assert len(unseen(gold.exam)) <= gold.counts.exam
    assert len(pairs) - len(gold.records) - gold.counts.exam == sum(each.cause != "exam" for each in gold.rejected)


@given(teachings(), SETTINGS, st.randoms(use_true_random=False))
def test_the_order_of_pairs_and_verdicts_changes_nothing(teaching, arguments, shuffler):
    pairs, verdicts = teaching
    expected = lines(golden.gather(pairs, verdicts, **arguments))
    pairs, verdicts = list(pairs), list(verdicts)
    shuffler.shuffle(pairs)
    shuffler.shuffle(verdicts)
    assert expected == lines(golden.gather(iter(pairs), iter(verdicts), **arguments))


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


def test_one_fact_stated_in_two_places_stays_one_when_the_repeated_question_goes():
    """What is held out of one place must not be trained on from the other."""
    pairs = [
        pair("a_0", "How long does it last?", item="one", evidence=(span(0, 50),)),
        pair("b_0", "How long does it last?", item="two", evidence=(span(900, 950),)),
        pair("b_1", "After what time does it lapse?", item="two", evidence=(span(900, 950),)),
    ]
    gold = golden.gather(pairs, approve(pairs), never_asked=0.0, held_out=0.0)
    assert ["a_0", "b_1"] == [record.qa_id for record in gold.records]
    assert 1 == len({record.fact for record in gold.records})


def test_pairs_with_one_wording_train_fully():
    """A model teacher asks each question once: nothing is held out of what cannot be asked otherwise."""
    pairs = [pair(f"q_{n}", f"What is p{n}?", f"{n}", item=f"i{n}", kind="question") for n in range(30)]
    gold = golden.gather(pairs, approve(pairs), never_asked=0.0)
    assert 30 == len(gold.records)
    assert {"taught": 30} == dict(gold.counts.questions)


def test_a_pair_without_a_verdict_is_unverified_unless_nothing_was_verified():
    pairs = [pair("q_0", "What is p0?"), pair("q_1", "What is p1?")]
    gold = golden.gather(pairs, approve(pairs[:1]), status="model", never_asked=0.0)
    assert ["q_0"] == [record.qa_id for record in gold.records]
    assert [("q_1", "unverified")] == [(each.qa_id, each.cause) for each in gold.rejected]
    gold = golden.gather(pairs, [], status="unverified", never_asked=0.0)
    assert ["unverified", "unverified"] == [record.status for record in gold.records]


def test_one_refusal_outweighs_an_approval_and_its_reason_is_kept():
    pairs = [pair("q_0", "What is p0?")]
    no = Verdict(qa_id="q_0", grounded=False, no_hallucination=True, complete=True, reason="the text says 12 hours")
    gold = golden.gather(pairs, [*approve(pairs), no])
    assert [("q_0", "rejected", "the text says 12 hours")] == [
        (each.qa_id, each.cause, each.reason) for each in gold.rejected
    ]


def test_nothing_in_gives_nothing_out_and_counts_that_add_up():
    gold = golden.gather([], [])
    assert ((), (), (), 0) == (gold.records, gold.exam, gold.rejected, gold.counts.parsed)
    assert gold.counts.add_up()


def test_two_pairs_of_one_id_are_refused():
    with pytest.raises(InputError, match="'q_0'"):
        golden.gather([pair("q_0", "What is p0?"), pair("q_0", "What is p1?")], [])


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("name", ["held_out", "never_asked"])
def test_a_share_out_of_range_is_named_with_its_value(name, share):
    with pytest.raises(InputError, match=rf"{name} .* 0 to 1.*{share!r}"):
        golden.gather([], [], **{name: share})


@pytest.mark.parametrize("questions", [-1, 1.5, True])
def test_a_number_of_questions_out_of_range_is_named(questions):
    with pytest.raises(InputError, match=f"questions .*{questions!r}"):
        golden.gather([], [], questions=questions)


def test_blank_questions_and_answers_are_rejected():
    pairs = [pair("q_0", " ?! "), pair("q_1", "What is p1?", "  ")]
    gold = golden.gather(pairs, approve(pairs))
    assert [("q_0", "rejected"), ("q_1", "rejected")] == [(each.qa_id, each.cause) for each in gold.rejected]


# -- repetitions -----------------------------------------------------------------------------------------------------


def causes(pairs):
    records = with_facts([golden.to_gold(each, "model") for each in pairs])
    return {each.record.qa_id: each.cause for each in repetitions(records)}


def test_the_same_question_is_asked_once():
    """Case and punctuation do not make another question, within an item or between items."""
    assert {"b": "duplicate", "c": "duplicate"} == causes(
        [
            pair("a", "How long does it last?", item="one"),
            pair("b", "how long does it last", item="one"),
            pair("c", "How long does it last ?", item="two"),
        ]
    )


def test_two_answers_to_one_question_are_both_left_out():
    assert {"a": "contradictory", "b": "contradictory", "c": "contradictory"} == causes(
        [
            pair("a", "How long does it last?", "24 hours"),
            pair("b", "How long does it last?", "36 hours"),
            pair("c", "How long does it last?", "24 hours"),
        ]
    )


def test_answers_worded_otherwise_with_one_canonical_answer_do_not_contradict():
    assert {"b": "duplicate"} == causes(
        [
            pair("a", "How long does it last?", "It lasts 24 hours.", short_answer="24 hours"),
            pair("b", "How long does it last?", "For 24 hours.", short_answer="24 hours"),
        ]
    )


def test_near_duplicates_go_between_items_and_stay_within_one():
    place = (span(0, 50),)
    first = "How long does a departure from the protocol last unless it is renewed?"
    second = "How long does the departure from a protocol last unless it is renewed?"
    third = "How long does departure from the protocol last unless it is renewed?"
    assert wording(first) != wording(third)
    two_items = [pair("a", first, evidence=place, item="one"), pair("b", third, evidence=place, item="two")]
    assert {"b": "duplicate"} == causes(two_items)
    assert {} == causes([pair("a", first, evidence=place, item="one"), pair("b", second, evidence=place, item="one")])


@pytest.mark.parametrize(
    ("second", "answer", "place"),
    [
        ("What dose is given to a child of 11 to 20 kg with severe asthma at night?", "24 hours", span(0, 50)),
        ("What dose is given to a child of 11 to 30 kg with asthma at night?", "12 hours", span(0, 50)),
        (
            "What dose is given to a child of 11 to 30 kg with asthma at night?",
            "24 hours",
            Span(document="alpha", start=200, end=250, text="y" * 50),
        ),
    ],
    ids=["other figures", "another answer", "another fact"],
)
def test_questions_alike_are_no_duplicates_when_they_ask_something_else(second, answer, place):
    first = "What dose is given to a child of 11 to 30 kg with severe asthma at night?"
    assert len(set(wording(first).split()) & set(wording(second).split())) >= SAME_QUESTION * 15
    assert {} == causes(
        [
            pair("a", first, evidence=(span(0, 50),), item="one"),
            pair("b", second, answer, evidence=(place,), item="two"),
        ]
    )


SENTENCES = st.lists(
    st.sampled_from("a the of is pump valve pumps night not above below 1 2".split()), min_size=1, max_size=9
).map(" ".join)


@given(
    st.lists(
        st.tuples(SENTENCES, st.sampled_from(["x", "y"]), st.integers(0, 3), st.sampled_from([(), (0,), (50,)])),
        max_size=25,
    )
)
def test_near_duplicates_are_those_that_comparing_all_with_all_finds(questions):
    """The inverted index finds every near-duplicate, and nothing else."""
    records = with_facts(
        [
            GoldRecord(
                instruction=text,
                output=answer,
                qa_id=f"q_{n}",
                item=f"i{item}",
                evidence=tuple(span(start, start + 10) for start in starts),
            )
            for n, (text, answer, item, starts) in enumerate(questions)
        ]
    )
    found = {each.record.qa_id: each.cause for each in repetitions(records)}
    kept, expected, wordings = [], set(), set()
    for record in records:
        if found.get(record.qa_id) == "contradictory":
            continue
        if wording(record.instruction) in wordings:
            expected.add(record.qa_id)
            continue
        wordings.add(wording(record.instruction))
        if any(near(record, other) for other in kept):
            expected.add(record.qa_id)
        else:
            kept.append(record)
    assert expected == {qa_id for qa_id, cause in found.items() if cause == "duplicate"}


def near(one, other):
    words, others = set(wording(one.instruction).split()), set(wording(other.instruction).split())
    extra, missing = words - others, others - words
    if (extra | missing) & {"1", "2", "not", "above", "below"} or one.item == other.item or one.output != other.output:
        return False
    if len(words & others) < SAME_QUESTION * len(words | others):
        return False
    more, less = (
        {"pump" if word == "pumps" else word for word in side - {"a", "the", "of", "is"}} for side in (extra, missing)
    )
    if one.evidence and other.evidence:
        return one.fact == other.fact and (more <= less or less <= more)
    return more == less


def test_cells_of_one_table_row_with_equal_values_are_no_duplicates():
    """They differ in one word, have one answer, and stand on the same line."""
    row = (span(0, 50),)
    first = 'For a length of 20 to 80 m, what does the table "Minimum pattern" list under "Head"?'
    second = 'For a length of 20 to 80 m, what does the table "Minimum pattern" list under "Stern"?'
    assert {} == causes(
        [pair("a", first, "1", evidence=row, item="one"), pair("b", second, "1", evidence=row, item="two")]
    )


# -- facts -----------------------------------------------------------------------------------------------------------


def overlap_by_half(one, other):
    common = min(one.end, other.end) - max(one.start, other.start)
    shorter = min(one.end - one.start, other.end - other.start)
    return one.document == other.document and shorter > 0 and common > 0 and 2 * common >= shorter


@given(
    st.lists(
        st.lists(st.builds(span, st.integers(0, 40), st.integers(0, 40), st.sampled_from(DOCUMENTS)), max_size=3),
        max_size=15,
    )
)
@example([[span(0, 10)], [span(5, 100)]])  # half, to the character
@example([[span(0, 10)], [span(6, 100)]])
@settings(max_examples=300)
def test_facts_of_different_answers_are_what_comparing_all_spans_with_all_gives(evidence):
    records = with_facts(
        [
            GoldRecord(instruction=f"q {n}", output=f"answer {n}", item=f"i{n}", evidence=tuple(spans))
            for n, spans in enumerate(evidence)
        ]
    )
    groups = [{n} for n in range(len(records))]
    for n, one in enumerate(records):
        for m, other in enumerate(records[:n]):
            if any(overlap_by_half(a, b) for a in one.evidence for b in other.evidence):
                joined = groups[n] | groups[m]
                for member in joined:
                    groups[member] = joined
    expected = [[groups[n] is groups[m] for m in range(len(records))] for n in range(len(records))]
    assert expected == [[one.fact == other.fact for other in records] for one in records]


def test_items_without_evidence_are_their_own_facts():
    records = with_facts([GoldRecord(instruction=f"q {n}", output="a") for n in range(3)])
    assert 3 == len({record.fact for record in records})
    assert 3 == len({record.item for record in records})


def test_a_fact_keeps_its_name_when_another_document_is_edited():
    one = GoldRecord(instruction="q", output="a", item="i", evidence=(span(0, 9),))
    others = [GoldRecord(instruction="r", output="b", item="j", evidence=(span(n, n + 9, "beta"),)) for n in (0, 5)]
    assert 1 == len({with_facts([one, other])[0].fact for other in others})


# -- files -----------------------------------------------------------------------------------------------------------


def write_lines(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


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


TEXTS = {"alpha": "The ordinance of Alpha.\n" * 400, "beta": "Beta has another text.\n" * 400}


def run_folder(folder, pairs, document="alpha", text=None, **arguments):
    """What a run leaves of *pairs*: dataset, exam, chunks, source."""
    gold = golden.gather(pairs, approve(pairs), **arguments)
    (folder / "source").mkdir(parents=True)
    text = TEXTS[document] if text is None else text
    (folder / "source" / f"{document}.txt").write_text(text, encoding="utf-8")
    chunks = [
        Chunk(
            id=f"chunk_{n:06d}",
            key=digest(text[at : at + 800]),
            document=document,
            text=text[at : at + 800],
            start=at,
            end=at + 800,
            char_count=800,
        )
        for n, at in enumerate(range(0, 8000, 800), 1)
    ]
    write_jsonl(folder / "chunks.jsonl", chunks)
    write_jsonl(folder / "golden_dataset.jsonl", gold.records)
    write_jsonl(folder / "exam.jsonl", gold.exam)
    return folder


def renamed(pairs, old="p", new="q", document="beta"):
    """The same pairs about other properties of another document."""
    return [
        attrs.evolve(
            each,
            question=each.question.replace(f" {old}", f" {new}"),
            item=digest(each.item)[:16],
            evidence=tuple(attrs.evolve(span, document=document) for span in each.evidence),
        )
        for each in pairs
    ]


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


# -- merge -----------------------------------------------------------------------------------------------------------


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


def test_gathering_takes_time_in_proportion_to_the_pairs():
    """Also where all questions are of one template and have one answer: four times the pairs, not sixteen times the work."""
    shuffler = random.Random(7)
    words = [f"w{n}" for n in range(300)]

    def seconds(count):
        pairs = [
            pair(f"q_{n}", f"How long does the {' '.join(shuffler.sample(words, 3))} departure last?", item=f"i{n}")
            for n in range(count)
        ]
        verdicts = approve(pairs)
        started = time.process_time()
        golden.gather(pairs, verdicts)
        return time.process_time() - started

    seconds(500)  # warm caches
    assert seconds(8000) < 9 * seconds(2000)


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


def test_a_fact_said_twice_is_one_fact():
    """A rule and its summary: to hold out the one and train the other would not be holding out."""
    rule = Span(document="alpha", start=0, end=40, text="A visitor badge expires after 12 hours.")
    summary = Span(document="alpha", start=900, end=940, text="Visitor badges expire after 12 hours")
    other = Span(document="alpha", start=500, end=540, text="The night shift lasts for 12 hours in winter.")
    records = [
        GoldRecord(instruction=f"{number}?", output="12 hours", evidence=(each,), document="alpha", item=f"i{number}")
        for number, each in enumerate((rule, summary, other))
    ]
    facts = [record.fact for record in with_facts(records)]
    assert facts[0] == facts[1] != facts[2]

"""Control items: planted to measure the judge, known to be bad or good, never in the way of what is judged in earnest."""

import asyncio
import json
from collections import defaultdict
from pathlib import Path

import attrs
import pytest
from judges import chunk, judging, llm, pair, pump_lesson, shown
from timed import cpu_seconds

from text2expert import Chunker, Document, RuleTeacher
from text2expert.ledger import Ledger
from text2expert.records import Verdict, wilson, wording
from text2expert.verifier import Verifier, control_report, controls
from text2expert.verifier.items import gathered, passes

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True)
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger") as opened:
        yield opened


def labelled_lessons():
    """Passages with the good labelled items about them."""
    lessons = defaultdict(list)
    for line in (DATA / "labelled_pairs.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["label"] == "good":
            lessons[row["doc"], row["passage_start"], row["passage"]].append(row)
    for number, ((document, start, text), rows) in enumerate(lessons.items(), 1):
        passage = chunk(text, number, document, start)
        pairs = [pair(passage, row["id"], row["question"], row["answer"], quote=row["evidence"]) for row in rows]
        yield passage, [item for item in gathered(pairs) if passes(item.pairs[0], [passage])]


def spoiled(item, items, passage, seed=0):
    return controls.bad(item, items, [passage], seed)


def test_nearly_every_item_can_be_spoiled_unseen_by_the_evidence_check():
    made, count = [], 0
    for passage, items in labelled_lessons():
        for item in items[:1]:
            count += 1
            if (bad := spoiled(item, items, passage)) is not None:
                assert passes(bad.pairs[0], [passage])
                assert item.questions[0] == bad.questions[0]
                assert wording(item.answer) != wording(bad.answer)
                assert ("bad", True) == (bad.control, bad.pairs[0].qa_id.startswith(controls.PREFIX))
                made.append(bad)
    assert len(made) > 0.9 * count
    assert len({bad.planted for bad in made}) >= 3
    assert len({bad.pairs[0].qa_id for bad in made}) == len(made)


WAYS = {
    "a condition dropped": ("q0", "The feed pump runs for 20 minutes."),
    "a list shortened": ("q5", "They are washed with warm water and dried in air."),
    "another question's value": ("q4", "At every 6 weeks."),
    "another question's answer": ("q4", "Every 6 weeks, by the shift leader."),
    "another number": ("q4", "At 6 bar."),
    "a claim added": ("q4", "At 8 bar. Anyone may refuse."),
}


@pytest.mark.parametrize(("way", "example"), WAYS.items(), ids=WAYS.keys())
def test_each_way_to_spoil(way, example):
    """What comes of it differs from the pair in that one respect."""
    passage, pairs = pump_lesson()
    qa_id, answer = example
    (origin,) = (each for each in pairs if each.qa_id == qa_id)
    found = [(what, each.answer) for what, each in controls._spoiled(origin, pairs, passage.text)]
    assert (way, answer) in found


def test_a_condition_that_the_question_states_may_be_missing():
    passage, pairs = pump_lesson()
    stated = attrs.evolve(pairs[0], question="For how long does the feed pump run unless the tank is empty?")
    assert "a condition dropped" not in {what for what, _ in controls._spoiled(stated, [], passage.text)}


def test_a_number_that_the_question_holds_is_left():
    passage, pairs = pump_lesson()
    held = attrs.evolve(pairs[4], question="Does the relief valve open at 8 bar?")
    assert "another number" not in {what for what, _ in controls._spoiled(held, [], passage.text)}


def test_an_answer_that_says_the_same_is_no_foreign_answer():
    passage, pairs = pump_lesson()
    same = attrs.evolve(
        pairs[4], qa_id="x", item="x", question="Which pressure opens the relief valve?", answer="8 bar"
    )
    assert {"another number", "a claim added"} == {
        what for what, _ in controls._spoiled(pairs[4], [same], passage.text)
    }


def test_a_claim_is_added_only_where_the_passage_speaks_of_nothing_like_it():
    _, pairs = pump_lesson()
    passage = " ".join(["On the pump.", *controls.CLAIMS[1:]])
    added = [each.answer for what, each in controls._spoiled(pairs[4], [], passage) if what == "a claim added"]
    assert [f"At 8 bar. {controls.CLAIMS[0]}"] == added
    foreign = "Die Pumpe wird bei 8 bar abgeschaltet."
    assert not [what for what, _ in controls._spoiled(pairs[4], [], foreign) if what == "a claim added"]


def test_known_good_items_are_sentences_of_the_text():
    """Of a kind that a rule reads off one sentence, and found right by the evidence check."""
    text = (DATA / "foreign_tenancy.txt").read_text(encoding="utf-8")
    made = 0
    for passage in Chunker().split(Document.from_text(text)):
        items = gathered(asyncio.run(RuleTeacher().ateach((passage,), 3)))
        for item in items:
            good = asyncio.run(controls.good(item, [item], [passage], 0))
            if good is not None:
                made += 1
                assert good.control == "good"
                assert passes(good.pairs[0], [passage])
                squeezed = " ".join(passage.text.split()).casefold()
                assert (good.short_answer or good.answer).casefold() in squeezed
    assert made > 5


def test_a_passage_without_a_plain_sentence_gives_no_known_good_item():
    passage, pairs = pump_lesson()
    (item, *_) = gathered(pairs)
    assert asyncio.run(controls.good(item, [], [attrs.evolve(passage, text="Hm.")], 0)) is None


def test_where_no_rule_finds_a_question_a_sentence_is_asked_for():
    passage = chunk("La pompe d'alimentation fonctionne pendant vingt minutes au plus. Les filtres sont lavés à l'eau.")
    origin = pair(passage, "q", "Comment les filtres sont-ils lavés?", "À l'eau.")
    good = asyncio.run(controls.good(gathered([origin])[0], gathered([origin]), [passage], 0))
    assert "La pompe d'alimentation fonctionne pendant vingt minutes au plus." == good.answer
    assert "asked word for word" == good.planted


def planted(share=1.0, approve=lambda item: True, lessons=None, **settings):
    provider = judging(approve)
    lessons = list(lessons or labelled_lessons())
    pairs = [each for _, items in lessons for item in items for each in item.pairs]
    step = Verifier(llm(provider), controls=share, **settings)
    verdicts = step.verify(pairs, [passage for passage, _ in lessons])
    return verdicts, provider.requests, pairs


def ruled_lessons():
    """Lessons of the very teacher that asks for known-good items, so that these would meet their twins if they could."""
    text = (DATA / "foreign_tenancy.txt").read_text(encoding="utf-8")
    for passage in Chunker().split(Document.from_text(text)):
        yield passage, gathered(asyncio.run(RuleTeacher().ateach((passage,), 6)))


@pytest.mark.parametrize("lessons", [labelled_lessons, ruled_lessons])
def test_a_control_never_meets_its_origin(lessons):
    """Neither in the very words nor as another item that says the same."""
    verdicts, requests, pairs = planted(0.4, lessons=list(lessons())[:30])
    answers = {each.question: each for each in pairs}

    def is_spoiled(item):
        question, answer = item
        return question in answers and answers[question].answer != answer

    count = 0
    for request in requests:
        items = [(item["question"]["1"], item["answer"]) for item in shown(request)]
        spoiled = list(filter(is_spoiled, items))
        count += len(spoiled)
        right = [wording(answer) for question, answer in items if not is_spoiled((question, answer))]
        for question, _ in spoiled:
            origin = answers[question]
            assert not [answer for answer in right if wording(origin.short_answer or origin.answer) in answer]
    assert count == sum(each.control == "bad" for each in verdicts) > 5


def test_a_control_is_no_pair():
    verdicts, _, pairs = planted(lessons=list(labelled_lessons())[:25])
    ids = {each.qa_id for each in pairs}
    assert all((each.qa_id in ids) == (not each.control) for each in verdicts)
    assert all(each.qa_id.startswith(controls.PREFIX) == bool(each.control) for each in verdicts)


def test_what_is_judged_in_earnest_is_asked_in_the_same_words_with_or_without_controls(tmp_path):
    lessons = list(labelled_lessons())[:12]
    keys = []
    for number, share in enumerate([0.0, 0.3, 1.0]):
        with Ledger(tmp_path / str(number)):
            _, requests, _ = planted(share, lessons=lessons)
        keys.append({request.key for request in requests})
    assert keys[0] < keys[1]
    assert keys[0] < keys[2]


def test_controls_are_drawn_by_content_and_their_share_is_kept():
    """At 5 % a run of 150 items plants a handful."""
    verdicts, _, pairs = planted(0.05)
    bad = [each for each in verdicts if each.control == "bad"]
    assert 2 <= len(bad) <= 0.15 * len(pairs)
    again, _, _ = planted(0.05, seed=1)
    assert {each.qa_id for each in bad} != {each.qa_id for each in again if each.control == "bad"}


def test_a_careless_judge_is_seen_through_and_a_strict_one_is_not_blamed():
    lessons = list(labelled_lessons())[:30]
    careless, _, _ = planted(lessons=lessons)
    report = control_report(careless)
    assert (0, 0) == (report.caught, report.false_alarms)
    assert report.planted_bad > 20
    assert report.planted_good > 10
    assert report.catch_interval[1] < 0.2
    assert report.false_alarm_interval[0] == 0


def test_a_judge_that_rejects_everything_raises_every_false_alarm():
    rejecting, _, _ = planted(approve=lambda item: False, lessons=list(labelled_lessons())[:10])
    report = control_report(rejecting)
    assert (report.planted_bad, report.planted_good) == (report.caught, report.false_alarms)


def test_what_was_done_to_a_control_is_said_with_its_verdict():
    verdicts, _, _ = planted(lessons=list(labelled_lessons())[:10])
    said = {each.reason.partition(":")[0] for each in verdicts if each.control == "bad"}
    assert said <= WAYS.keys()
    good = {each.reason.partition(":")[0] for each in verdicts if each.control == "good"}
    assert {"asked by rule"} <= good <= {"asked by rule", "asked word for word"}


def test_without_controls_none_are_planted():
    verdicts, _, _ = planted(0.0, lessons=list(labelled_lessons())[:10])
    assert not any(each.control for each in verdicts)
    report = control_report(verdicts)
    assert (0, 0, None, None) == (
        report.planted_bad, report.planted_good, report.catch_interval, report.false_alarm_interval,
    )  # fmt: skip


def test_the_report_counts_and_gives_intervals():
    def one(kind, approved):
        return Verdict(qa_id="x", grounded=True, no_hallucination=True, complete=approved, control=kind)

    verdicts = [one("bad", False)] * 9 + [one("bad", True)] + [one("good", True)] * 4 + [one("", False)] * 5
    report = control_report(verdicts)
    assert (9, 10, 0, 4) == (report.caught, report.planted_bad, report.false_alarms, report.planted_good)
    assert wilson(9, 10) == report.catch_interval
    assert report.catch_interval == pytest.approx((0.5958, 0.9821), abs=5e-5)
    assert "caught 9 of 10 (60 to 98 %) planted faults; rejected 0 of 4 (0 to 49 %) planted good pairs" == str(report)


def test_spoiling_takes_no_longer_than_the_answer_is_long():
    """An answer of many thousand words, as a broken teacher writes it, holds nothing up."""
    passage, pairs = pump_lesson()

    def seconds(length):
        endless = attrs.evolve(pairs[4], answer="if a, b and c, " * length, short_answer="")
        assert any(controls._spoiled(endless, pairs, passage.text))
        return cpu_seconds(lambda: list(controls._spoiled(endless, pairs, passage.text)))

    seconds(100)
    assert seconds(10_000) < 20 * seconds(1_000) + 0.1

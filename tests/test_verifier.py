"""The verifier: what it asks, of which pairs, and for how much money."""

import asyncio
import json
import logging
import math
import random
import re
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judges import chunk, judging, llm, pair, pump_lesson, reply, shown, verdict
from messages_server import KEY, MessagesServer

from text2expert.errors import AuthenticationFailed, InputError, ProviderUnavailable
from text2expert.ledger import Ledger
from text2expert.llm import LLM
from text2expert.prices import Price
from text2expert.records import QAPair, Verdict
from text2expert.testing import ScriptedProvider
from text2expert.verifier import Verifier, approval
from text2expert.verifier.items import Item, grouped, sampled

DATA = Path(__file__).parent / "data"


def rows(name):
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger") as opened:
        yield opened


def verifier(provider, **settings):
    settings.setdefault("controls", 0.0)
    return Verifier(llm(provider), **settings)


def outcome(verdicts):
    return {each.qa_id: each.approved for each in verdicts}


@pytest.mark.parametrize(
    ("pairs", "chunks", "named"),
    [
        (["x"], [], "pairs: 'x' is no QAPair"),
        ("x", [], "pairs: 'x' is no QAPair"),
        ([], ["text"], "chunks: 'text' is no Chunk"),
        ([QAPair(qa_id="q7", question="?", answer="!", sources=())], [], "q7: it names no source"),
    ],
)
def test_what_cannot_be_judged_is_named(pairs, chunks, named):
    """Before anything is asked."""
    with pytest.raises(InputError, match=named):
        verifier(ScriptedProvider([])).verify(pairs, chunks)


# -- from pairs to requests and back ----------------------------------------------------------------------------------


def labelled():
    """The labelled pairs as lessons, and what a judge that knows the labels says of each question and answer."""
    passages, pairs, labels = {}, [], {}
    for row in rows("labelled_pairs.jsonl"):
        place = row["doc"], row["passage_start"]
        passage = passages.setdefault(
            place, chunk(row["passage"], len(passages) + 1, document=row["doc"], start=row["passage_start"])
        )
        quote = row["evidence"] if row["label"] == "good" else ""
        pairs.append(pair(passage, row["id"], row["question"], row["answer"], quote=quote))
        labels[row["question"], row["answer"]] = row["label"] == "good"
    return list(passages.values()), pairs, labels


def test_verdicts_reach_the_pairs_they_are_of_whatever_the_order(tmp_path):
    """A judge that knows the labels is followed to the letter, in items numbered by content alone."""
    passages, pairs, labels = labelled()
    truth = {each.qa_id: labels[each.question, each.answer] for each in pairs}
    providers, verdicts = [], []
    for number, given_pairs in enumerate([pairs, random.Random(1).sample(pairs, len(pairs))]):
        providers.append(judging(lambda item: labels[item["question"]["1"], item["answer"]]))
        with Ledger(tmp_path / str(number)):
            verdicts.append(verifier(providers[-1], pairs_per_call=3).verify(given_pairs, passages))
    assert {each.qa_id for each in pairs} == outcome(verdicts[0]).keys()
    judged = outcome(each for each in verdicts[0] if each.by == "judge")
    assert {qa_id: truth[qa_id] for qa_id in judged} == judged
    assert len(judged) < len(pairs)  # the evidence check saved the rest
    assert sum(judged.values()) > 0.9 * sum(truth.values())
    assert outcome(verdicts[0]) == outcome(verdicts[1])
    assert {each.key for each in providers[0].requests} == {each.key for each in providers[1].requests}


def test_ids_places_and_numbers_of_chunks_change_no_request(tmp_path):
    passage, pairs = pump_lesson()
    moved = attrs.evolve(passage, id="chunk_000777", start=5000, end=5000 + len(passage.text), document="other")
    renamed = [
        attrs.evolve(each, qa_id=f"x{each.qa_id}", sources=(moved.id,), item=each.item + "0", reasoning="Because.")
        for each in pairs
    ]
    keys = []
    for number, (some, of) in enumerate([(pairs, passage), (renamed, moved)]):
        provider = judging(lambda item: True)
        with Ledger(tmp_path / str(number)):
            verifier(provider, controls=0.5).verify(some, [of])
        keys.append([each.key for each in provider.requests])
    assert keys[0] == keys[1]


def test_a_pair_that_fails_the_evidence_check_costs_no_call():
    passage, _ = pump_lesson()
    provider = judging(lambda item: True)
    wrong = pair(passage, "q", "At what pressure does the relief valve open?", "At 9 bar.")
    (found,) = verifier(provider).verify([wrong], [passage])
    assert ("q", False, "evidence") == (found.qa_id, found.approved, found.by)
    assert "9 bar" in found.reason
    assert [] == provider.requests


def test_one_verdict_holds_for_all_wordings_and_all_are_shown():
    passage, pairs = pump_lesson()
    provider = judging(lambda item: item["answer"] != pairs[0].answer)
    verdicts = verifier(provider).verify(pairs, [passage])
    assert [each.qa_id for each in pairs] == [each.qa_id for each in verdicts]
    assert {"q0": False, "q1": False, "q2": False, "q3": True, "q4": True, "q5": True, "q6": True} == outcome(verdicts)
    (request,) = provider.requests
    wordings = {text for item in shown(request) for text in item["question"].values()}
    assert {each.question for each in pairs} == wordings


def test_a_wording_at_fault_is_rejected_alone():
    passage, pairs = pump_lesson()
    pairs[1] = attrs.evolve(pairs[1], question="How long is the feed pump?")

    def answer(request):
        return reply(
            *(
                verdict(number, bad_wordings=[int(n) for n, text in item["question"].items() if "How long is" in text])
                for number, item in enumerate(shown(request), 1)
            )
        )

    verdicts = {each.qa_id: each for each in verifier(ScriptedProvider(answer)).verify(pairs, [passage])}
    assert ["q1"] == [qa_id for qa_id, each in verdicts.items() if not each.approved]
    assert verdicts["q1"].reason.startswith("this wording is at fault")


def test_pairs_without_an_item_are_items_of_their_own():
    passage, pairs = pump_lesson()
    provider = judging(lambda item: True)
    verifier(provider, pairs_per_call=4).verify([attrs.evolve(each, item="") for each in pairs], [passage])
    assert [4, 3] == [len(shown(request)) for request in provider.requests]


def test_what_a_model_is_told():
    """The fixed part comes first and is the same for every request; the reply's schema is closed."""
    passage, pairs = pump_lesson()
    provider = judging(lambda item: True)
    Verifier(llm(provider, max_tokens=50_000), controls=0, pairs_per_call=2, prompt="Be kind.").verify(pairs, [passage])
    (system,) = {request.system for request in provider.requests}
    assert system.startswith("Be kind.\n\n")
    assert "JSON" in system  # without that word some providers refuse to answer in JSON
    assert "data" in system
    for request in provider.requests:
        assert request.thinking is False
        assert request.max_tokens < 4_096
        assert request.prompt.startswith("<passage ")
        closed = request.schema["properties"]["verdicts"]["items"]
        assert set(closed["properties"]) == set(closed["required"])
        assert closed["additionalProperties"] is False


@pytest.mark.parametrize("thinking", [True, False])
def test_a_model_that_was_told_how_to_think_is_left_alone(thinking):
    passage, pairs = pump_lesson()
    provider = judging(lambda item: True)
    Verifier(llm(provider, thinking=thinking, max_tokens=9_000), controls=0).verify(pairs, [passage])
    assert [thinking] == [request.thinking for request in provider.requests]
    assert thinking == (provider.requests[0].max_tokens == 9_000)


def test_a_name_is_a_model():
    assert "anthropic/claude-sonnet-5-5" == Verifier().name
    assert "deepseek/deepseek-flash" == Verifier("deepseek/deepseek-flash").name
    assert 7 == Verifier(LLM("deepseek/deepseek-flash", concurrency=7)).concurrency


# -- the sample -------------------------------------------------------------------------------------------------------


def lesson_items(count):
    return [
        Item(pairs=(QAPair(qa_id=str(n), question=f"What is {n}?", answer=f"{n}", sources=("c",)),))
        for n in range(count)
    ]


@given(st.integers(0, 30), st.floats(0, 1), st.floats(0, 1), st.integers(), st.randoms())
def test_a_larger_sample_adds_to_a_smaller_one_whatever_the_order(count, one, other, seed, chance):
    items = lesson_items(count)
    low, high = sorted([one, other])
    fewer, more = sampled(items, low, seed, "a"), sampled(chance.sample(items, count), high, seed, "a")
    assert fewer == more[: len(fewer)]
    assert count * low - 1 < len(fewer) < count * low + 1
    assert items == sorted(sampled(items, 1.0, seed, "a"), key=items.index)
    assert [] == sampled(items, 0.0, seed, "a")


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_many_lessons_together_give_the_share_and_each_gives_its_own(share):
    counts = [len(sampled(lesson_items(5), share, 0, str(lesson))) for lesson in range(1000)]
    expected, deviation = 5000 * share, math.sqrt(1000 * 0.25)
    assert abs(sum(counts) - expected) < 4 * deviation
    assert {math.floor(5 * share), math.ceil(5 * share)} >= set(counts)


def test_another_seed_or_lesson_draws_another_sample():
    items = lesson_items(40)
    drawn = [sampled(items, 0.5, 0, "a"), sampled(items, 0.5, 1, "a"), sampled(items, 0.5, 0, "b")]
    assert 3 == len({tuple(items.index(item) for item in some) for some in drawn})


@given(st.integers(0, 30), st.integers(1, 10))
def test_groups_hold_every_item_once(count, size):
    items = lesson_items(count)
    groups = grouped(items, size)
    assert items == [item for group in groups for item in group]
    assert all(len(group) == size for group in groups[:-1])


def test_pairs_that_were_not_drawn_have_no_verdict():
    passage, pairs = pump_lesson()
    verdicts = verifier(judging(lambda item: True), sample=0.4).verify(pairs, [passage])
    assert 2 == len({each.item for each in pairs if each.qa_id in outcome(verdicts)})


def test_a_larger_sample_asks_only_for_what_was_not_judged():
    """The earlier call's reply serves again; nothing that was judged is in a new request."""
    passage, pairs = pump_lesson()
    seen, requests = [], []
    for share in (0.4, 0.8, 1.0, 1.0):
        provider = judging(lambda item: True)
        seen.append(verifier(provider, sample=share).verify(pairs, [passage]))
        requests.append([[item["answer"] for item in shown(each)] for each in provider.requests])
    assert [[2], [2], [1], []] == [[len(items) for items in each] for each in requests]
    assert 5 == len({answer for each in requests for items in each for answer in items})
    assert {each.qa_id for each in pairs} == outcome(seen[2]).keys()
    assert seen[2] == seen[3]


# -- money and failures -----------------------------------------------------------------------------------------------

PRICE = Price(input=Decimal(2), cache_read=Decimal("0.1"), cache_write=Decimal("2.5"), output=Decimal(10))


def many_lessons(count):
    passages, pairs = [], []
    for number in range(1, count + 1):
        passage, some = pump_lesson()
        passage = chunk(f"Plant {number}. {passage.text}", number)
        passages.append(passage)
        pairs += [
            attrs.evolve(pair(passage, f"{number}_{each.qa_id}", each.question, each.answer), item=each.item)
            for each in some
        ]
    return passages, pairs


def test_where_the_budget_ends_verdicts_end_and_a_larger_one_continues(ledger):
    passages, pairs = many_lessons(12)
    first = judging(lambda item: True)
    model = llm(first, price=PRICE, concurrency=2)
    early = Verifier(model, controls=0, budget=0.08).verify(pairs, passages)
    assert 0 < len(early) < len(pairs)
    assert ledger.spent("verifier").total <= Decimal("0.08")
    second = judging(lambda item: True)
    late = Verifier(llm(second, price=PRICE), controls=0, budget=5).verify(pairs, passages)
    assert len(pairs) == len(late)
    assert outcome(early).items() <= outcome(late).items()
    assert 12 == len(first.requests) + len(second.requests)
    assert ledger.spent().settled == ledger.spent("verifier").settled


def test_without_a_cent_only_the_evidence_check_judges():
    passage, pairs = pump_lesson()
    wrong = attrs.evolve(pairs[4], qa_id="wrong", answer="At 9 bar.")
    provider = judging(lambda item: True)
    verdicts = Verifier(llm(provider, price=PRICE), budget=0).verify([*pairs, wrong], [passage])
    assert (["wrong"], []) == ([each.qa_id for each in verdicts], provider.requests)


def out_of_order(request):
    """A judge that is not there for the second of many lessons."""
    if "Plant 2." in request.prompt:
        return ProviderUnavailable("out of order", retry_after=0)
    return reply(*(verdict(number) for number, _ in enumerate(shown(request), 1)))


def test_an_answer_that_never_comes_leaves_its_items_unverified(capsys):
    passages, pairs = many_lessons(3)
    verdicts = Verifier(llm(ScriptedProvider(out_of_order), attempts=1), controls=0).verify(pairs, passages)
    assert {each.qa_id for each in pairs if not each.qa_id.startswith("2_")} == outcome(verdicts).keys()
    said = capsys.readouterr().err
    assert "5 questions were not judged: " in said
    assert "out of order" in said


@pytest.mark.parametrize(("budget", "level"), [(None, logging.WARNING), (0, logging.INFO)])
def test_a_lesson_alone_logs_what_was_not_judged(caplog, budget, level):
    passages, pairs = many_lessons(2)
    some = tuple(each for each in pairs if each.qa_id.startswith("2_"))
    step = Verifier(llm(ScriptedProvider(out_of_order), attempts=1, price=PRICE), controls=0, budget=budget)
    with caplog.at_level(logging.INFO, "text2expert.verifier"):
        assert [] == asyncio.run(step.averify(some, (passages[1],)))
    (record,) = caplog.records
    assert record.levelno == level
    assert record.getMessage().startswith("5 item(s) of chunk_000002 are not judged: ")


def test_what_was_judged_is_kept_when_asking_again_fails():
    passage, pairs = pump_lesson()
    script = [reply(verdict(1)), ProviderUnavailable("gone", retry_after=0)]
    verdicts = Verifier(llm(ScriptedProvider(script), attempts=1), controls=0).verify(pairs[3:5], [passage])
    assert [True] == [each.approved for each in verdicts]


def test_a_key_that_is_not_accepted_stops_the_run():
    passage, pairs = pump_lesson()
    provider = ScriptedProvider(lambda _: AuthenticationFailed("no"))
    with pytest.raises(AuthenticationFailed):
        verifier(provider, pairs_per_call=1).verify(pairs, [passage])


def test_a_source_that_is_missing_is_named():
    passage, pairs = pump_lesson()
    lost = attrs.evolve(pairs[0], sources=("chunk_000009",))
    with pytest.raises(InputError, match=r"q0: .*chunk_000009"):
        verifier(judging(lambda item: True)).verify([lost], [passage])


def test_pairs_of_several_passages_are_judged_by_all_of_them():
    passage, _ = pump_lesson()
    other = chunk("Standby pumps start within 90 seconds.", 2)
    both = attrs.evolve(
        pair(other, "q", "How soon do standby pumps start?", "Within 90 seconds."), sources=(passage.id, other.id)
    )
    provider = judging(lambda item: True)
    (found,) = verifier(provider).verify([both], [other, passage])
    assert found.approved
    assert provider.requests[0].prompt.index("feed pump") < provider.requests[0].prompt.index("Standby")


@pytest.mark.parametrize("sample", [0.5, 1.0])
def test_the_estimate_is_near_what_is_asked(sample):
    passages, pairs = many_lessons(40)
    provider = judging(lambda item: True)
    step = verifier(provider, sample=sample, controls=0.1, pairs_per_call=2)
    planned = step.estimate(40, 200, sum(each.char_count for each in passages))
    step.verify(pairs, passages)
    assert 0.75 * planned.calls < len(provider.requests) < 1.25 * planned.calls
    assert 0 == step.estimate(0, 0, 0).calls


def test_claude_is_asked_as_its_api_wants_it(ledger):
    """Over the wire: the schema is taken, thinking is turned down, the fixed part is cached, and the plan holds."""

    def answer(body):
        numbers = re.findall(r"Item (\d+):", json.dumps(body["messages"]))
        return reply(*(verdict(int(number)) for number in numbers))

    passages, pairs = many_lessons(10)
    with MessagesServer(answer) as server:
        model = LLM("anthropic/claude-sonnet-5-5", base_url=server.url, api_key=KEY)
        step = Verifier(model, budget=1, controls=0.2)
        planned = step.estimate(10, 50, sum(each.char_count for each in passages))
        verdicts = step.verify(pairs, passages)
    assert {each.qa_id for each in pairs} <= outcome(verdicts).keys()
    assert all(each.approved for each in verdicts)
    assert {"between_tools"} == {body["thinking"]["type"] for body in server.bodies}
    spent = ledger.spent("verifier")
    assert 0 < spent.settled <= planned.usd_high
    assert 0 == spent.lost == spent.held
    assert any(entry["cache_read_input_tokens"] > 500 for entry in server.bill)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("sample", value) for value in (-0.1, 1.1, math.nan, "all", True, None)),
        *(("controls", value) for value in (-0.1, 1.1, math.nan, None)),
        *(("budget", value) for value in (-1, math.nan, math.inf, Decimal("NaN"), "5", True)),
        *(("pairs_per_call", value) for value in (0, -1, 2.5, True)),
        *(("tries", value) for value in (0, 1.5)),
        *(("seed", value) for value in (0.5, "x", None)),
        *(("prompt", value) for value in ("", "  ", 5)),
        ("llm", 5),
    ],
)
def test_an_argument_out_of_range_is_named_with_its_value(name, value):
    with pytest.raises(InputError) as caught:
        Verifier(**{name: value})
    assert str(caught.value).startswith(f"{name}={value!r}: ")


# -- what the verdicts say of the rest --------------------------------------------------------------------------------


def test_the_approval_rate_counts_items_that_a_model_judged():
    _, pairs = pump_lesson()
    verdicts = [
        *(Verdict(qa_id=f"q{n}", grounded=True, no_hallucination=True, complete=n != 1, by="judge") for n in range(4)),
        Verdict(qa_id="q4", grounded=False, no_hallucination=True, complete=True, by="judge"),
        Verdict(qa_id="q5", grounded=False, no_hallucination=True, complete=True, by="evidence"),
        Verdict(qa_id="control:1", grounded=True, no_hallucination=True, complete=True, by="judge", control="good"),
    ]
    found = approval(verdicts, pairs)
    assert (2, 3) == (found.approved, found.judged)
    assert found.share == pytest.approx(2 / 3)
    assert found.interval == pytest.approx((0.2077, 0.9385), abs=5e-5)
    assert "approved 2 of 3 (21 to 94 %) judged questions" == str(found)
    assert (None, None) == (approval([], pairs).share, approval([], pairs).interval)


def test_several_lessons_at_a_time_and_blocking_calls_agree():
    passages, pairs = many_lessons(5)
    lessons = defaultdict(list)
    for each in pairs:
        lessons[each.sources].append(each)

    async def all_at_once():
        step = verifier(judging(lambda item: "bar" not in item["answer"]))
        return await asyncio.gather(
            *(step.averify(tuple(some), (passage,)) for passage, some in zip(passages, lessons.values(), strict=True))
        )

    together = [each for some in asyncio.run(all_at_once()) for each in some]
    assert together == verifier(judging(lambda item: False)).verify(pairs, passages)  # from the ledger

"""The rule-based teacher and the mechanical verifier: what they find, what they leave, what they cost a text."""

import asyncio
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from passages import chunk
from sentence_units import taught, units

from text2expert.chunker import Chunker
from text2expert.errors import InputError
from text2expert.offline import _RANK, EvidenceVerifier, RuleTeacher
from text2expert.offline.phrasings import TEMPLATES
from text2expert.records import QAPair, to_line

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "text2expert" / "samples"
DATA = Path(__file__).parent / "data"
JUDGED = DATA / "judged_pairs.jsonl"
NAMES = ["respiratory_protocol.txt", "vessel_mooring_sop.txt", "records_retention_policy.txt"]


@pytest.fixture(scope="module")
def taught_samples() -> dict[str, tuple[str, list[QAPair], list[QAPair]]]:
    """Name -> (text, pairs, approved pairs) of the sample documents."""
    found = {}
    for name in NAMES:
        text = (SAMPLES / name).read_text(encoding="utf-8")
        chunks = Chunker().split(text)
        pairs = RuleTeacher().teach(chunks)
        verdicts = EvidenceVerifier().verify(pairs, chunks)
        found[name] = (text, pairs, [p for p, verdict in zip(pairs, verdicts, strict=True) if verdict.approved])
    return found


# --- the records ------------------------------------------------------------------------------------------------------


def test_evidence_offsets_quote_the_document(taught_samples):
    """Every span gives its own text in the source, and the spans of an item are the same in all its wordings."""
    for text, pairs, _ in taught_samples.values():
        spans = defaultdict(set)
        for pair in pairs:
            assert all(text[span.start : span.end] == span.text for span in pair.evidence)
            assert pair.evidence
            spans[pair.item].add(pair.evidence)
        assert all(len(found) == 1 for found in spans.values())


def test_every_pair_is_whole(taught_samples):
    """Fields that other steps need are there; a question is a question and does not give its answer away."""
    for _, pairs, _ in taught_samples.values():
        assert len({pair.qa_id for pair in pairs}) == len(pairs)
        for pair in pairs:
            rule, template = pair.kind.split(":")
            assert template in TEMPLATES[rule]
            assert pair.question.endswith("?")
            assert len(pair.question) <= 220
            assert pair.model == RuleTeacher.name
            assert pair.short_answer
            assert pair.reasoning.startswith(('Section "', "The text states"))
            assert f" {pair.short_answer.casefold()} " not in f" {pair.question.casefold()} "


def test_a_question_has_one_answer_in_its_document(taught_samples):
    """No question string stands for two items."""
    for _, pairs, _ in taught_samples.values():
        assert max(Counter(pair.question.casefold() for pair in pairs).values()) == 1


def test_every_kind_has_wordings_and_a_rank():
    """No rule gives a fact that nobody can ask for, and none is without its place in the order."""
    assert set(TEMPLATES) == set(_RANK)
    assert all(len(templates) >= 3 for templates in TEMPLATES.values())


def test_items_have_several_wordings(taught_samples):
    """Most items can be taught in some wordings and examined in another."""
    for _, _, good in taught_samples.values():
        wordings = Counter(pair.item for pair in good)
        assert sum(wordings.values()) / len(wordings) >= 4.5
        assert sum(count >= 3 for count in wordings.values()) >= 0.95 * len(wordings)


def test_one_item_in_two_overlapping_chunks_has_one_digest():
    """The item is a digest of content, so that duplicates can be removed."""
    sentence = "A pump must be tested every 6 weeks."
    first = chunk(f"The store is dry. {sentence}", name="chunk_000001")
    second = chunk(f"{sentence} The lamp is red.", start=18, name="chunk_000002")
    apart = [asyncio.run(RuleTeacher().ateach((one,), 100)) for one in (first, second)]
    assert apart[0]
    assert {pair.item for pair in apart[0]} == {pair.item for pair in apart[1]}
    assert {pair.evidence for pair in apart[0]} == {pair.evidence for pair in apart[1]}
    assert {"chunk_000001"} == {pair.sources[0] for pair in RuleTeacher().teach([first, second])}


def test_n_counts_items_and_the_best_come_first():
    """`ateach` gives at most n items, each in all its wordings."""
    text = "A pump must be tested every 6 weeks. The blue lamps are kept for 5 years. The night porter signs the blue form."
    pairs = asyncio.run(RuleTeacher().ateach((chunk(text),), 2))
    assert len({pair.item for pair in pairs}) == 2
    assert [f"chunk_000001_qa_{number}" for number in range(len(pairs))] == [pair.qa_id for pair in pairs]
    assert pairs[0].kind.startswith("frequency")


def test_questions_per_chunk_bounds_teach():
    """The setting is a number of items for each chunk."""
    text = "A pump must be tested every 6 weeks. The blue lamps are kept for 5 years."
    assert len({pair.item for pair in RuleTeacher(questions_per_chunk=1).teach([chunk(text)])}) == 1


@pytest.mark.parametrize("wrong", [0, -3, 2.5, "7", True])
def test_a_wrong_setting_is_named(wrong):
    """The argument, its value and what is allowed are in the message."""
    with pytest.raises(InputError, match=r"questions_per_chunk=.*whole number from 1"):
        RuleTeacher(questions_per_chunk=wrong)


def test_cloze_is_a_kind_of_its_own_and_off_by_default():
    """Sentences with a gap are asked only on request."""
    text = "The lamp room holds about 40 lamps in winter."
    assert not any(pair.kind.startswith("cloze") for pair in RuleTeacher().teach([chunk(text)]))
    gaps = [pair for pair in RuleTeacher(cloze=True).teach([chunk(text)]) if pair.kind == "cloze:missing"]
    assert [pair.short_answer for pair in gaps] == ["40 lamps"]
    assert "____" in gaps[0].question


def test_same_text_same_bytes(taught_samples):
    """Teaching twice gives byte-identical records."""
    text, pairs, _ = taught_samples["vessel_mooring_sop.txt"]
    again = RuleTeacher().teach(Chunker().split(text))
    assert [to_line(pair) for pair in pairs] == [to_line(pair) for pair in again]


# --- the verifier -----------------------------------------------------------------------------------------------------


def test_the_verifier_tells_a_changed_number():
    """A pair's own answer is approved; another number in it is not."""
    passage = chunk("A pump must be tested every 6 weeks.")
    pairs = RuleTeacher().teach([passage])
    assert all(verdict.approved for verdict in EvidenceVerifier().verify(pairs, [passage]))
    assert [pair.qa_id for pair in pairs] == [verdict.qa_id for verdict in EvidenceVerifier().verify(pairs, [passage])]
    changed = [
        QAPair(qa_id="x", question=p.question, answer="A pump must be tested every 8 weeks.", sources=p.sources)
        for p in pairs
    ]
    assert not any(verdict.approved for verdict in EvidenceVerifier().verify(changed, [passage]))


def test_a_pair_without_its_passage_is_refused():
    """A pair whose sources are not there cannot be grounded; the reason names them."""
    lost = QAPair(qa_id="q", question="How often?", answer="Daily.", sources=("chunk_000009",))
    (verdict,) = EvidenceVerifier().verify([lost], [chunk("A pump is tested daily.")])
    assert not verdict.approved
    assert "chunk_000009" in verdict.reason
    assert verdict.by == EvidenceVerifier.name


@pytest.mark.parametrize(
    "lead", ["Do not:", "**Do not:**", "__Never:__", "*Prohibited:*", "Never", "**Do not**", "Forbidden"]
)
def test_a_bullet_far_below_its_ban_is_never_taught_as_an_order(lead):
    """From the passages that begin inside the list, a bullet is taught as a ban or not at all, and its order refused."""
    gates = "drum hose lamp crate ladder barrow boiler hatch winch anchor rope buoy".split()
    items = "\n".join(f"- Open the {gate} gate after 18:00 on a working day." for gate in gates)
    text = f"# Gates\n\nThe hall is dry.\n\n{lead}\n\n{items}\n\n# Store\n\nThe store is dry.\n"
    later = [one for one in Chunker(200, 30).split(text) if "gate after" in one.text and lead not in one.text]
    assert len(later) > 3
    pairs = RuleTeacher().teach(later)
    assert all(re.search(r"\b(?:not|never)\b", pair.question + pair.answer) for pair in pairs)
    assert bool(pairs) is bool(re.search("not|never", lead, re.IGNORECASE))
    orders = [
        QAPair(
            qa_id=f"order_{gate}",
            question=f"When should the {gate} gate be opened on a working day?",
            answer=f"Open the {gate} gate after 18:00 on a working day.",
            sources=(one.id,),
        )
        for gate in gates
        for one in later
        if f"Open the {gate} gate after 18:00 on a working day." in one.text
    ]
    assert len({pair.question for pair in orders}) > 8
    assert not any(verdict.approved for verdict in EvidenceVerifier().verify(orders, later))


# --- yield and precision ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "least"),
    [("respiratory_protocol.txt", 0.45), ("vessel_mooring_sop.txt", 0.45), ("records_retention_policy.txt", 0.30)],
)
def test_enough_of_the_document_is_taught(taught_samples, name, least):
    """The share of sentences and bullets in the evidence of approved pairs, without cloze questions."""
    text, _, good = taught_samples[name]
    done, total = taught(text, [[(span.start, span.end) for span in pair.evidence] for pair in good])
    assert done / total >= least, f"{done} of {total}"


@pytest.mark.parametrize(("name", "least"), [("foreign_lab_sop.txt", 0.5), ("foreign_tenancy.txt", 0.5)])
def test_other_styles_are_taught_too(name, least):
    """Documents that the rules were not written for."""
    text = (DATA / name).read_text(encoding="utf-8")
    chunks = Chunker().split(text)
    pairs = RuleTeacher().teach(chunks)
    good = [p for p, verdict in zip(pairs, EvidenceVerifier().verify(pairs, chunks), strict=True) if verdict.approved]
    done, total = taught(text, [[(span.start, span.end) for span in pair.evidence] for pair in good])
    assert done / total >= least, f"{done} of {total}"


def test_judged_pairs_are_right_and_current(taught_samples):
    """50 pairs of each document were judged by reading: 90 % are right, and the teacher still gives most of them."""
    judged = [json.loads(line) for line in JUDGED.read_text(encoding="utf-8").splitlines()]
    for name in NAMES:
        text, _, good = taught_samples[name]
        mine = [pair for pair in judged if pair["document"] == name]
        assert len(mine) == 50
        assert sum(pair["right"] for pair in mine) >= 45
        assert all(pair["why"] for pair in mine)
        for pair in mine:
            assert all(text[span["start"] : span["end"]] == span["text"] for span in pair["evidence"])
        current = {(pair.question, pair.short_answer) for pair in good}
        kept = sum((pair["question"], pair["short_answer"]) in current for pair in mine)
        assert kept >= 45, f"{name}: only {kept} of the 50 judged pairs are still taught; judge a fresh sample"


# --- any text ---------------------------------------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        *'The A If When must shall is are not never may the valve pump, record; every 24 hours within 2 days of "Hold" means and or'.split(),
        *"Only Should Unless except unless it they who that which by the officer 5 °C before after 08:00 each Monday May (HDO)".split(),
        *[
            "Do not:",
            ":",
            "-",
            "•",
            "1.",
            "2.3",
            "|",
            "\n",
            "\n\n",
            "   ",
            "\t",
            "#",
            "(a)",
            "Temperature: 5%",
            "---",
            "a.m.",
        ],
    ]
)


def _sound(text: str) -> None:
    passage = chunk(text, context="3 Cold store\nDo not:", start=7)
    for pair in RuleTeacher(cloze=True).teach([passage]):
        assert pair.question.endswith("?")
        assert pair.evidence
        assert all(text[span.start - 7 : span.end - 7] == span.text for span in pair.evidence)


@settings(max_examples=300, deadline=None)
@given(st.lists(_WORDS, max_size=60).map(" ".join))
def test_any_words_are_taught_or_left(text):
    """Words of the rules' own in any order raise nothing, and what comes out is whole."""
    _sound(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
@example("A : valve opens.")
def test_any_text_is_taught_or_left(text):
    """No text raises."""
    _sound(text)


@given(st.text(max_size=400))
def test_the_splitter_that_counts_stays_inside_the_text(text):
    """Units are in order, do not overlap and lie in the text."""
    at = 0
    for start, end in units(text):
        assert at <= start < end <= len(text)
        at = end

"""The map of the document: what became of each passage, and the passages themselves."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import attrs

from text2expert.examiner.results import EXPERT
from text2expert.examiner.statistics import Asked, Places, by_passage
from text2expert.legible import percent
from text2expert.records import Chunk, GoldRecord, Span
from text2expert.report.findings import Findings
from text2expert.report.markup import Html, joined, said, tag
from text2expert.report.passages import MOST_TEXT, Passages, marked, title

STATES = {
    "failed": ("✕", "the expert got half of the unseen questions about it wrong, or more"),
    "passed": ("✓", "the expert got most of the unseen questions about it right"),
    "verified": ("", "taught from verified pairs; no unseen question is about it"),
    "taught": ("?", "taught from pairs that nobody verified; no unseen question is about it"),
    "dropped": ("–", "pairs were written from it, and none was kept; no unseen question is about it"),
    "unasked": ("", "no pair was written from it, and no unseen question is about it"),
}
"""Of a passage: its sign on the map, and what it means."""

NAMES = {
    "failed": "failed",
    "passed": "passed",
    "verified": "verified",
    "taught": "taught, not verified",
    "dropped": "nothing kept",
    "unasked": "never asked",
}


_NOT_ASKED = Asked(frozenset(), frozenset())


@attrs.define
class Fate:
    """What became of one passage."""

    pairs: int = 0
    """That the teacher wrote from it."""
    gold: int = 0
    """That are trained, by their evidence."""
    verified: int = 0
    """Of `gold`."""
    exam: Asked = _NOT_ASKED
    """How the expert did on the unseen questions about it."""
    spans: list[Span] = attrs.field(factory=list)
    """What is taught of it."""

    @property
    def state(self) -> str:
        """One of `STATES`."""
        if self.exam.asked:
            return "failed" if self.exam.failed else "passed"
        if self.gold:
            return "verified" if self.verified else "taught"
        return "dropped" if self.pairs else "unasked"

    @property
    def words(self) -> str:
        """Its counts."""
        parts = [f"{self.pairs:,} pairs written, {self.gold:,} trained on it" if self.pairs or self.gold else "no pair"]
        if n := len(self.exam.asked):
            parts.append(f"the expert got {len(self.exam.right):,} of {n:,} unseen questions right")
        return "; ".join(parts)


def fates(found: Findings, passages: Passages) -> dict[str, Fate]:
    """Chunk id -> what became of it."""
    made = {chunk.id: Fate() for chunk in found.chunks}
    for source in itertools.chain.from_iterable(found.sources.values()):
        if source in made:
            made[source].pairs += 1
    for record in found.gold:
        for chunk_id in _taught_from(record, found, passages):
            if chunk_id in made:
                fate = made[chunk_id]
                fate.gold += 1
                fate.verified += record.status != "unverified"
                fate.spans += record.evidence
    mine = {each: answers[EXPERT].grade for each, answers in found.answers.items() if EXPERT in answers}
    for chunk_id, asked in by_passage(found.exam, mine, Places(found.chunks)).items():
        made[chunk_id].exam = asked
    return made


def _taught_from(record: GoldRecord, found: Findings, passages: Passages) -> Iterable[str]:
    """By its evidence; a record without any counts where it was written from."""
    if record.evidence:
        return {chunk.id for span in record.evidence for chunk in passages.holding(span)}
    return found.sources.get(record.qa_id, ())


def coverage(found: Findings, fate: Mapping[str, Fate], passages: Passages, listed: Mapping[str, Html]) -> Html:
    """The map: a cell for each passage, section by section.

    Args:
        found: What the folder holds.
        fate: See `fates`.
        passages: Of the run.
        listed: Chunk id -> a link to its text on the page.
    """
    counts = Counter(each.state for each in fate.values())
    places = Places(found.chunks)
    sections: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in found.chunks:
        sections[places.section(chunk)].append(chunk)
    share = found.receipt.get("share_taught")
    lines = [
        f"{len(found.chunks):,} passages. Each is a cell: point at it for what became of it, follow it to its text."
    ]
    if isinstance(share, int | float):
        lines.append(f" {percent(share)} of the characters are taught.")
    return joined(
        tag("p", *lines),
        tag(
            "ul",
            *(
                tag(
                    "li",
                    _sign(state),
                    f" {NAMES[state]} ",
                    tag("strong", f"{counts[state]:,}"),
                    tag("small", meaning, _untaught(state, fate)),
                )
                for state, (_, meaning) in STATES.items()
                if counts[state]
            ),
            class_="legend",
        ),
        tag(
            "div",
            *(
                tag(
                    "section",
                    tag("h3", said(name), tag("small", _summed(chunks, fate))),
                    tag("ol", *(tag("li", _cell(chunk, fate[chunk.id], passages, listed)) for chunk in chunks)),
                )
                for name, chunks in sections.items()
            ),
            class_="map",
        ),
    )


def _untaught(state: str, fate: Mapping[str, Fate]) -> str:
    """A passage that is failed because nothing of it is taught asks for another remedy than one that is."""
    n = sum(each.state == state and not each.gold for each in fate.values())
    return f"; of {n:,} of them nothing is taught" if n and state in ("failed", "passed") else ""


def _sign(state: str) -> Html:
    return tag("i", STATES[state][0], class_=f"cell {state}", aria_hidden="true")


def _summed(chunks: Iterable[Chunk], fate: Mapping[str, Fate]) -> str:
    mine = [fate[chunk.id] for chunk in chunks]
    # Passages overlap: a question that asks for two of them is one.
    asked, right = (len(frozenset().union(*ids)) for ids in zip(*(each.exam for each in mine), strict=True))
    words = f"{sum(each.gold > 0 for each in mine):,} of {len(mine):,} taught"
    return f"{words}, {right:,} of {asked:,} answers right" if asked else words


def _cell(chunk: Chunk, fate: Fate, passages: Passages, listed: Mapping[str, Html]) -> Html:
    tip = tag(
        "span",
        title(chunk, passages.number(chunk.id)),
        tag("br"),
        f"{NAMES[fate.state]}: {fate.words}",
        class_="tip",
    )
    if chunk.id in listed:
        return tag("a", STATES[fate.state][0], tip, class_=f"cell {fate.state}", href=f"#{passages.anchor(chunk)}")
    return tag("span", STATES[fate.state][0], tip, class_=f"cell {fate.state}", tabindex=0)


def shelf(found: Findings, fate: Mapping[str, Fate]) -> list[Chunk]:
    """The chunks whose text the page lists: all of them or, of a long document, the failed and the unasked first."""
    if sum(chunk.char_count for chunk in found.chunks) <= MOST_TEXT:
        return list(found.chunks)
    room, taken = MOST_TEXT, set()
    order = list(STATES)
    for chunk in sorted(found.chunks, key=lambda chunk: order.index(fate[chunk.id].state) % (len(order) - 1)):
        room -= chunk.char_count
        if room < 0:
            break
        taken.add(chunk.id)
    return [chunk for chunk in found.chunks if chunk.id in taken]


def texts(found: Findings, shown: Iterable[Chunk], fate: Mapping[str, Fate], passages: Passages) -> Html:
    """The passages themselves, with what is taught of them marked."""
    shown = list(shown)
    left = len(found.chunks) - len(shown)
    return joined(
        tag("p", "What is taught of a passage is marked: the evidence of the pairs that are trained."),
        tag("p", f"{left:,} more passages stand in chunks.jsonl alone: the document is too long for one page.")
        if left
        else None,
        tag(
            "div",
            *(
                tag(
                    "details",
                    tag("summary", _sign(fate[chunk.id].state), tag("span", title(chunk, passages.number(chunk.id)))),
                    tag("p", f"{NAMES[fate[chunk.id].state]}: {fate[chunk.id].words}. ", tag("small", said(chunk.id))),
                    marked(chunk, fate[chunk.id].spans, "taught"),
                    class_="passage",
                    id=passages.anchor(chunk),
                )
                for chunk in shown
            ),
            class_="list",
        ),
    )

"""How much of a text is taught."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from text2expert.records import GoldRecord, Span


def share_taught(texts: Mapping[str, str], records: Iterable[GoldRecord]) -> float:
    """The share of *texts* that is taught: of their characters, white space aside, those in the evidence of *records*.

    Documents of one text count once, and what is taught of one of them is taught of all.

    Args:
        texts: Document id -> source text.
        records: The training set.
    """
    spans: dict[str, list[Span]] = defaultdict(list)
    for record in records:
        for span in record.evidence:
            if span.document in texts:
                spans[texts[span.document]].append(span)
    taught = total = 0
    for text in dict.fromkeys(texts.values()):
        total += _solid(text)
        reached = 0
        for span in sorted(spans[text], key=lambda span: span.start):
            taught += _solid(text[max(span.start, reached) : span.end])
            reached = max(reached, span.end)
    return taught / total if total else 0.0


def _solid(text: str) -> int:
    return sum(map(len, text.split()))

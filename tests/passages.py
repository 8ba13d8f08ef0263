"""Passages as the chunker would cut them, for tests that need no chunker."""

from text2expert.offline import RuleTeacher
from text2expert.records import Chunk


def chunk(text: str, *, heading: str = "3 Cold store", context: str = "", start: int = 0, name: str = "chunk_000001"):
    """One passage, as the chunker would cut it."""
    headings = (heading,) if heading else ()
    return Chunk(
        id=name,
        key="k",
        document="manual",
        text=text,
        start=start,
        end=start + len(text),
        char_count=len(text),
        headings=headings,
        context=context or heading,
    )


def ask(text: str, **where) -> dict[str, str]:
    """Question -> short answer, of all that is taught of *text*."""
    return {pair.question: pair.short_answer for pair in RuleTeacher().teach([chunk(text, **where)])}

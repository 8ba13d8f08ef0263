"""Exams whose answers are known: what a contestant got right is written down, not worked out."""

from text2expert.examiner.results import GivenAnswer
from text2expert.records import Chunk, ExamQuestion, Span


def question(name, row="held_out", *, answer="5 cmH2O", fact="", **fields):
    return ExamQuestion(id=name, row=row, question=f"What is {name}?", answer=answer, fact=fact, **fields)


def questions(row, n, **fields):
    """*n* questions of one row, each about a fact of its own: ``held_out_000``, ..."""
    return [question(f"{row}_{number:03d}", row, fact=f"{row}_{number:03d}", **fields) for number in range(n)]


def answers(contestant, exam, right, **fields):
    """One answer to every question; *right* is how many of each row are right (the first ones), or a set of ids."""
    seen = {}
    given = []
    for each in exam:
        place = seen[each.row] = seen.get(each.row, -1) + 1
        ok = place < right.get(each.row, 0) if isinstance(right, dict) else each.id in right
        given.append(
            GivenAnswer(
                question=each.id, contestant=contestant, text="text", grade="right" if ok else "wrong", **fields
            )
        )
    return given


def chunk(number, start, end, *headings, document="doc"):
    return Chunk(
        id=f"chunk_{number:06d}",
        key=f"key{number}",
        document=document,
        text="x" * (end - start),
        start=start,
        end=end,
        char_count=end - start,
        headings=headings,
    )


def span(start, end, document="doc"):
    return Span(document=document, start=start, end=end, text="x" * (end - start))

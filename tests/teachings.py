"""Pairs as teachers write them, and the run folders that they leave."""

import json

import attrs
from hypothesis import strategies as st

from text2expert import golden
from text2expert.records import Chunk, QAPair, Span, Verdict, digest, write_jsonl

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


def unseen(exam):
    return [each for each in exam if each.row != "taught"]


def overlap_by_half(one, other):
    common = min(one.end, other.end) - max(one.start, other.start)
    shorter = min(one.end - one.start, other.end - other.start)
    return one.document == other.document and shorter > 0 and common > 0 and 2 * common >= shorter


def write_lines(path, *values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


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

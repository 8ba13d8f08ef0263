"""How well the reader without a model reads, and below which score it had better say that the text does not say.

    python benchmarks/reading.py

Three sets of questions, none of which is the sample exam:

- made: the offline teacher's exam (held-out wordings, wordings unlike any template, facts never asked) on the sample
  documents and two texts that its rules were not written on; without an answer: near misses of them. Graded as an exam is.
- labelled: the good pairs of the labelled sample, worded as a teacher would; without an answer: the same questions when the
  passages with their evidence are gone.
- other domains: pairs of 26 passages of other genres, all in one heap; without an answer: as before.

The answers of the last two are sentences, which the exam's grader does not take for keys, so they are graded roughly: a
figure of the answer, yes or no, or half of its words. `LEAST` is the score at which most is right over the three sets alike,
where one question in ten, or one in five, has no answer. The reader's rules have seen the last two sets and the made
questions, so those figures are of a training set. The sample exam, which comes last, was used for no number; but its
questions were read by the authors of the rules.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from text2expert import documents
from text2expert.chunker import Chunker
from text2expert.evidence.quantities import quantities, same_quantity
from text2expert.evidence.tokens import content, tokens
from text2expert.examiner import Retriever, grade, load_exam, refuses
from text2expert.examiner.reading import LEAST, Reader
from text2expert.golden import gather
from text2expert.offline import EvidenceVerifier, RuleTeacher
from text2expert.records import Chunk
from text2expert.refusals import near_misses

ROOT = Path(__file__).resolve().parents[1]
SAMPLES, DATA = ROOT / "text2expert" / "samples", ROOT / "tests" / "data"
LEASTS = [each / 40 for each in range(10, 27)]


class Asked:
    """A set of questions: the score and whether the reading was right of those with an answer, the score of the others."""

    def __init__(self) -> None:
        self.answerable: list[tuple[float, bool]] = []
        self.vain: list[float] = []
        self.polar: list[tuple[str, bool]] = []
        """Of the questions for yes or no: which is right, and whether the reading was."""

    def answered(self, score: float, answer: str, *, right: bool) -> None:
        """Count a reading of a question with an *answer*."""
        self.answerable.append((score, right))
        if verdict := re.match(r"(yes|no)(?:[,.;:]|$)", answer, re.IGNORECASE):  # not "no more than 5"
            self.polar.append((verdict[1].casefold(), right))

    def right(self, least: float) -> float:
        """The share of those with an answer that is right, where less sure ones are refused."""
        return sum(right and score >= least for score, right in self.answerable) / len(self.answerable)

    def refused(self, least: float) -> float:
        """The share of the others that is refused."""
        return sum(score < least for score in self.vain) / len(self.vain)


class Reading:
    """Passages that are searched and read, without refusing."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.retriever = Retriever(chunks)
        self.reader = Reader(chunks)

    def ask(self, question: str) -> tuple[str, float]:
        """What is read, whatever its score, and that."""
        found = self.reader.read(question, self.retriever.find(question), 0.0)
        return found.text, found.score


def is_about_right(answer: str, said: str) -> bool:
    if refuses(said):
        return False
    first = answer.split(maxsplit=1)[0].strip(",.;:").casefold()
    if first in ("yes", "no"):
        return said.casefold().startswith(first)
    right, mine = quantities(answer), quantities(said)
    if right:
        hits = [any(same_quantity(one, other) for other in right) for one in mine]
        return any(hits) and (all(hits) or len(said.split()) > 8)
    words = content(tokens(answer))
    return 2 * len(words & content(tokens(said))) >= len(words)


def asked_in_earnest_and_in_vain(
    asked: Asked, reading: Reading, without: Callable[[], Reading], question: str, answer: str
) -> None:
    said, score = reading.ask(question)
    asked.answered(score, answer, right=is_about_right(answer, said))
    asked.vain.append(without().ask(question)[1])


def made(paths: Iterable[Path]) -> Asked:
    asked = Asked()
    for path in paths:
        (document,) = documents.read(path)
        chunks = Chunker().split(document)
        pairs = RuleTeacher().teach(chunks)
        gold = gather(pairs, EvidenceVerifier().verify(pairs, chunks), questions=150)
        reading = Reading(chunks)
        for question in gold.exam:
            if question.row != "taught":
                said, score = reading.ask(question.question)
                asked.answered(score, question.answer or "", right=grade(question, said))
        for miss in near_misses(gold.records, [documents.text_of(document)], share=0.1, seed=1):
            asked.vain.append(reading.ask(miss.instruction)[1])
    return asked


def labelled(paths: Iterable[Path]) -> Asked:
    asked = Asked()
    pairs = [json.loads(line) for line in (DATA / "labelled_pairs.jsonl").read_text("utf-8").splitlines()]
    for path in paths:
        chunks = Chunker().split(documents.read(path)[0])
        reading = Reading(chunks)
        for pair in pairs:
            if pair["doc"] == path.name and pair["label"] == "good":
                start, end = pair["evidence_start"], pair["evidence_start"] + len(pair["evidence"])
                left = [chunk for chunk in chunks if chunk.end <= start or end <= chunk.start]
                asked_in_earnest_and_in_vain(
                    asked, reading, lambda left=left: Reading(left), pair["question"], pair["answer"]
                )
    return asked


def other_domains() -> Asked:
    asked = Asked()
    lines = [json.loads(line) for line in (DATA / "evidence_other_domains.jsonl").read_text("utf-8").splitlines()]
    chunks = [
        Chunk(id=str(n), key=str(n), document="", text=line["passage"], start=0, end=0, char_count=len(line["passage"]))
        for n, line in enumerate(lines)
    ]
    reading = Reading(chunks)
    for number, line in enumerate(lines):
        rest = Reading([*chunks[:number], *chunks[number + 1 :]])
        for pair in line["pairs"]:
            if pair["label"] == "good":
                asked_in_earnest_and_in_vain(asked, reading, lambda rest=rest: rest, pair["question"], pair["answer"])
    return asked


def sample_exam(paths: Iterable[Path]) -> None:
    counts: Counter[tuple[str, str]] = Counter()
    for path in paths:
        reading = Reading(Chunker().split(documents.read(path)[0]))
        for question in load_exam(SAMPLES / "exam.jsonl", documents={path.stem}):
            said, score = reading.ask(question.question)
            refused = score < LEAST
            counts[question.kind, "n"] += 1
            counts[question.kind, "refused"] += refused
            counts[question.kind, "right"] += (
                refused if question.answer is None else grade(question, said) and not refused
            )
            counts[question.kind, "right if it always answered"] += grade(question, said)
    for kind in ("single", "multihop", "unanswerable"):
        print(f"  {kind:<14}", ", ".join(f"{name} {counts[kind, name]}" for name in ("n", "right", "refused")), end="")
        print(f" (right if it always answered: {counts[kind, 'right if it always answered']})")


def main() -> None:
    samples = [
        SAMPLES / f"{name}.txt" for name in ("records_retention_policy", "respiratory_protocol", "vessel_mooring_sop")
    ]
    sets = {
        "made": made([*samples, *sorted(DATA.glob("foreign_*.txt"))]),
        "labelled": labelled(samples),
        "other domains": other_domains(),
    }
    names = "".join(f"{name} ({len(each.answerable)}/{len(each.vain)})".center(26) for name, each in sets.items())
    print(f"{'least':>6}{names}  one in ten  one in five without an answer")
    for least in LEASTS:
        cells = "".join(f"{each.right(least):10.1%} /{each.refused(least):6.1%}      " for each in sets.values())
        means = [
            sum((1 - vain) * each.right(least) + vain * each.refused(least) for each in sets.values()) / len(sets)
            for vain in (0.1, 0.2)
        ]
        print(f"{least:6.3f}{cells}   {means[0]:9.1%}  {means[1]:11.1%}{'   <- LEAST' if least == LEAST else ''}")
    print("per cent right of those with an answer / refused of those without\n\nyes or no, always answered:")
    for name, each in sets.items():
        cells = [
            f"{word} {sum(right for told, right in each.polar if told == word)} of {sum(told == word for told, _ in each.polar)}"
            for word in ("yes", "no")
        ]
        print(f"  {name:<14}", ", ".join(cells))
    print("\nthe sample exam, at LEAST:")
    sample_exam(samples)


if __name__ == "__main__":
    main()

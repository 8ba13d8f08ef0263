"""Whether the passage that answers a question is among the first five that BM25 finds: the RAG baseline is no straw man.

    python benchmarks/retrieval.py

The questions are those of the sample exam that one passage answers, written by hand in other words than the text's; the
passages are those of the default chunker. A passage is right that holds the evidence, or half of it. Beside the index of a
run stand bm25s as it comes (words without English stop words) and bm25s on every word.
"""

import functools
from collections import Counter
from collections.abc import Callable, Sequence

import bm25s

from text2expert import documents
from text2expert.chunker import Chunker
from text2expert.examiner import Retriever, load_exam
from text2expert.examiner.contestants import holds
from text2expert.records import Chunk, ExamQuestion

SAMPLES = documents.__file__.replace("documents.py", "samples/")
AT = (1, 3, 5)
Search = Callable[[str], Sequence[Chunk]]


def with_bm25s(chunks: Sequence[Chunk], **options: None) -> Search:
    searcher = bm25s.BM25()
    words = functools.partial(bm25s.tokenize, show_progress=False, **options)
    searcher.index(words([chunk.text for chunk in chunks]), show_progress=False)

    def find(question: str) -> list[Chunk]:
        places, _ = searcher.retrieve(words(question), k=max(AT), show_progress=False)
        return [chunks[place] for place in places[0]]

    return find


def rank(question: ExamQuestion, search: Search) -> int:
    """Of the first right passage, from 0; a large number where there is none."""
    found = search(question.question)
    right = (place for place, chunk in enumerate(found) if any(holds(chunk, span) for span in question.evidence))
    return next(right, 1_000_000)


def main() -> None:
    exam = [question for question in load_exam(f"{SAMPLES}exam.jsonl") if question.kind == "single"]
    hits: Counter[tuple[str, str, int]] = Counter()
    ways = ("this index", "bm25s as it comes", "bm25s, every word")
    for name in dict.fromkeys(question.document for question in exam):
        chunks = Chunker().split(documents.read(f"{SAMPLES}{name}.txt")[0])
        searches = (Retriever(chunks, max(AT)).find, with_bm25s(chunks), with_bm25s(chunks, stopwords=None))
        for question in exam:
            if question.document == name:
                for way, search in zip(ways, searches, strict=True):
                    found = rank(question, search)
                    hits.update((way, where, k) for where in (name, "all") for k in AT if found < k)
    print(f"{'recall at':<28}{'n':>4}  " + "  ".join(f"{way:^20}" for way in ways))
    print(f"{'':<28}{'':>4}  " + "  ".join("".join(f"{k:>6}" for k in AT).center(20) for _ in ways))
    for where in [*dict.fromkeys(question.document for question in exam), "all"]:
        n = sum(where in ("all", question.document) for question in exam)
        cells = ("".join(f"{100 * hits[way, where, k] / n:>5.0f}%" for k in AT).center(20) for way in ways)
        print(f"{where:<28}{n:>4}  " + "  ".join(cells))


if __name__ == "__main__":
    main()

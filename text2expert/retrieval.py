"""BM25 over passages (Robertson and Zaragoza, 2009; ``bm25s``, Lucene's variant): which passages speak of the same things.

Texts are compared by their terms: stems without function words, and beside each its concept, so that a synonym is found
and the very word is found sooner. ``benchmarks/retrieval.py`` measures what that is worth.
"""

import re
import warnings
from collections.abc import Iterator, Sequence

from text2expert.evidence.wording import FUNCTION, concept, stem
from text2expert.records import UNSPACED, Chunk

_WORD = re.compile(rf"[{UNSPACED}]+|[^\W{UNSPACED}]+(?:[.,][^\W{UNSPACED}]+)*")
_UNSPACED = re.compile(rf"[{UNSPACED}]")


def terms(text: str) -> list[str]:
    """What *text* is compared by.

    Scripts that set no spaces between words are compared by pairs of characters.
    """
    return list(_terms(text))


def _terms(text: str) -> Iterator[str]:
    for word in _WORD.findall(text.casefold()):
        if _UNSPACED.match(word):
            yield from (word[place : place + 2] for place in range(max(1, len(word) - 1)))
        elif word not in FUNCTION:
            root = stem(word)
            yield root
            yield f"={concept(root)}"  # "=" is in no word: a concept is not taken for the stem that names it


def _phrases(text: str) -> Iterator[str]:
    """The terms of *text*, and each two concepts that stand side by side in it."""
    before = ""
    for term in _terms(text):
        yield term
        if term.startswith("="):
            if before:
                yield before + term
            before = term


def with_context(chunk: Chunk) -> str:
    """The text of *chunk* under its headings and what leads it in: what it is found by."""
    return f"{chunk.context or ' > '.join(chunk.headings)}\n{chunk.text}"


class Index:
    """Passages to be compared with a text by their words; built once, asked often, deterministic."""

    def __init__(self, texts: Sequence[str], *, phrases: bool = False) -> None:
        """Index *texts*; `scores` are in their order.

        Args:
            texts: The passages.
            phrases: Whether two words side by side count beside the words: better where a question is asked, and twice
                the memory.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it loads tqdm, which warns in notebooks without ipywidgets
            import bm25s  # noqa: PLC0415 - 0.3 s that only a search should cost

        self._size = len(texts)
        self._read = _phrases if phrases else _terms
        words = [list(self._read(text)) for text in texts]
        self._searcher = bm25s.BM25(method="lucene") if any(words) else None
        if self._searcher is not None:
            self._searcher.index(words, show_progress=False)

    def scores(self, query: str) -> list[float]:
        """The BM25 score of every passage for *query*, 0 where no word is shared; function words are not shared."""
        known = [] if self._searcher is None else [
            term for term in self._read(query) if term in self._searcher.vocab_dict
        ]  # fmt: skip
        if self._searcher is None or not known:
            return [0.0] * self._size
        found: list[float] = self._searcher.get_scores(known).tolist()
        return found

    def best(self, query: str, k: int) -> list[int]:
        """The places of the *k* passages that score highest, best first, equals in their order; none that scores 0."""
        scores = self.scores(query)
        places = sorted((place for place, score in enumerate(scores) if score > 0), key=lambda place: -scores[place])
        return places[:k]

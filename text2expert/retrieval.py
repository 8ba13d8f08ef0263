"""BM25 over passages (Robertson and Zaragoza, 2009; `bm25s`, Lucene's variant): which passages speak of the same things."""

import heapq
import re
import warnings
from collections.abc import Sequence

_WORDS = re.compile(r"\w+(?:[.,]\w+)*")


class Index:
    """Passages to be searched by their words; built once, searched often, deterministic."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Index *texts*; their positions are what `search` gives back."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it loads tqdm, which warns in notebooks without ipywidgets
            import bm25s  # noqa: PLC0415 - 0.3 s that only a search should cost

        self._size = len(texts)
        words = [_WORDS.findall(text.casefold()) for text in texts]
        self._searcher = bm25s.BM25(method="lucene") if any(words) else None
        if self._searcher is not None:
            self._searcher.index(words, show_progress=False)

    def scores(self, query: str) -> list[float]:
        """The BM25 score of every passage for *query*, 0 where no word is shared."""
        known = [] if self._searcher is None else [
            word for word in _WORDS.findall(query.casefold()) if word in self._searcher.vocab_dict
        ]  # fmt: skip
        if self._searcher is None or not known:
            return [0.0] * self._size
        found: list[float] = self._searcher.get_scores(known).tolist()
        return found

    def search(self, query: str, k: int) -> list[int]:
        """Positions of the *k* passages that fit *query* best, best first, the earlier of equals first; none of score 0."""
        scores = self.scores(query)
        best = heapq.nsmallest(k, range(self._size), key=lambda place: (-scores[place], place))
        return [place for place in best if scores[place] > 0]

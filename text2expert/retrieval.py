"""BM25 over passages (Robertson and Zaragoza, 2009; `bm25s`, Lucene's variant): which passages speak of the same things."""

import re
import warnings
from collections.abc import Sequence

_WORDS = re.compile(r"\w+(?:[.,]\w+)*")


class Index:
    """Passages to be compared with a text by their words; built once, asked often, deterministic."""

    def __init__(self, texts: Sequence[str]) -> None:
        """Index *texts*; `scores` are in their order."""
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

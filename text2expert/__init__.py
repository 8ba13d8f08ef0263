"""Turn a reference text into a small language model that knows it closed-book, and prove whether it does.

    text ──Chunker──▶ chunks ──Teacher──▶ Q&A + reasoning ──Verifier──▶ golden dataset ──Trainer──▶ expert
                                                                                          │
                                                         base · expert · lookup ◀──Examiner┘   one exam, one table

>>> from text2expert import Pipeline
>>> run = Pipeline().run("handbook.txt")          # doctest: +SKIP
>>> run.expert.ask("Who may start oxygen?")       # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

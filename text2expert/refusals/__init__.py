"""Questions that a document does not answer, each a near miss of one that it does, with a refusal to train on.

Closed-book training makes a model answer everything; questions whose answer is missing, beside answerable ones that look
alike, keep it honest (R-Tuning, Zhang et al., NAACL 2024). Three kinds are made from a golden dataset by rule:

    entity       another named thing, identifier, office or object in the place of the one that the text knows
    attribute    a known thing asked after what the text does not say of it
    topic        a topic beside the document's own

What is put in occurs nowhere in the texts nor in the questions on them, checked by words and their stems, so that no
question that the texts answer is refused. Numbers are never changed: a rule may cover a range. The rules are English; on
texts of other languages there are few or none.
"""

from text2expert.refusals.making import Refusal, item_of, load, near_misses
from text2expert.refusals.turning import Kind
from text2expert.refusals.wordings import WORDINGS

__all__ = ["WORDINGS", "Kind", "Refusal", "item_of", "load", "near_misses"]

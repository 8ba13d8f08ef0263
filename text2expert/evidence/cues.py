"""Whether a question asks for something computed, or its answer shows that it is: by words of no subject."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from text2expert.evidence.pair import Pair
from text2expert.evidence.rates import SPAN_NAMES, SPAN_WORDS
from text2expert.evidence.tokens import Token
from text2expert.evidence.wording import COMPUTING, word_set

_TOTALS = word_set(
    "total altogether plus sum together combined overall totals include includes included including inclusive whole entire both"
)
"""What a question says that asks for a sum."""
_SUMS = _TOTALS | word_set(
    "minus difference differ differs left remaining remain remains exceed exceeds extra apart additional additionally beyond "
    "further start beginning save saves vary varies spread gap margin rest available free net deducting subtracting itself"
)
"""What it says that asks for a sum or a difference."""
_COMPARED = word_set(
    "longer more later shorter less earlier fewer higher lower larger smaller bigger older younger faster slower sooner "
    "heavier lighter wider narrower deeper warmer colder cheaper dearer greater further farther hotter cooler"
)
"""The same, where no number is compared: "how much longer than by day"."""
_SIGNS = word_set("plus minus altogether divided times multiplied sum total")
"""What an answer says that shows its working."""
_SHARES = word_set("share percentage proportion fraction percent % part")
_RATIOS = word_set("times compare compared comparison twice")
_NO_COMPARATIVES = word_set("other another after over under never ever further number order water paper whether either")


class Computing(NamedTuple):
    """What kinds of computing a pair speaks of; false where of none."""

    sum: bool = False
    total: bool = False
    rate: bool = False
    share: bool = False
    ratio: bool = False

    def __bool__(self) -> bool:
        """Whether anything is computed."""
        return any(self)


def computes(pair: Pair) -> Computing:
    """What the question asks to be computed, or the answer shows being made."""
    asked = [token.text.lower() for token in pair.question.tokens]
    told = pair.answer.tokens
    words = [token.text.lower() for token in told]
    total = not _TOTALS.isdisjoint(asked) or ("in", "all") in pairwise(asked)
    all_of = any(one == "all" and two not in ("the", "year") for one, two in pairwise(asked))
    shown = any(one.quantity is not None and two.text.lower() in _COMPARED | {"apart"} for one, two in pairwise(told))
    spans = any(one in ("per", "a", "each", "every") and two in SPAN_NAMES for one, two in pairwise(asked))
    return Computing(
        sum=total or shown or _differs(asked) or not _SUMS.isdisjoint(asked) or _shows_signs(told),
        total=total,
        rate=spans or all_of or any(word in SPAN_WORDS for word in asked),
        share=not _SHARES.isdisjoint(asked),
        ratio=not _RATIOS.isdisjoint(asked)
        or (words.count("as") > 1 and any(f.quantity.unit is None for f in pair.answer.figures)),
    )


def _shows_signs(told: Sequence[Token]) -> bool:
    """Whether an operation stands beside a number: "10 plus 2", "12 minutes in total"."""
    return any(
        token.text.lower() in _SIGNS and any(near.quantity is not None for near in told[max(0, i - 2) : i + 3])
        for i, token in enumerate(told)
    )


def _differs(asked: list[str]) -> bool:
    """Whether a question asks by how much two things differ: "how much hotter", "by how many", "how long ... later"."""
    if any((one, two) in (("by", "how"), ("how", "wide")) for one, two in pairwise(asked)):
        return True
    for one, two, three in zip(asked, asked[1:], asked[2:], strict=False):
        if one == "how" and two in ("much", "many", "far") and (three in _COMPARED or _is_comparative(three)):
            return True
    if "how" in asked and "between" in asked and not {"many", "much", "long", "far"}.isdisjoint(asked):
        return True
    compared = any(
        word in _COMPARED and following != "than" and before not in ("no", "or", "any", "not", "if")
        for before, word, following in zip(["", *asked], asked, [*asked[1:], ""], strict=False)
    )
    return compared and "how" in asked


def _is_comparative(word: str) -> bool:
    return len(word) > 4 and word.endswith("er") and word not in _NO_COMPARATIVES and word not in COMPUTING

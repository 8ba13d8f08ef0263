"""How far a contestant's confidence can be trusted, and below which it had better say that it does not know."""

import bisect
import math
from collections.abc import Iterable

import attrs

from text2expert.errors import InputError

BINS = 10
"""Of equal width, as is usual for the expected calibration error."""


@attrs.frozen(kw_only=True)
class Calibration:
    """What confidences say of answers being right."""

    n: int
    accuracy: float
    """Share of right answers, 0 to 1."""
    auroc: float | None
    """The chance that a right answer is surer than a wrong one, ties counted half: 0.5 is no better than a coin, 1.0 tells
    all of them apart. None where all answers are right, or none is."""
    ece: float
    """Expected calibration error, 0 to 1: by how much confidence and share of right answers differ, over ten bins."""
    threshold: float
    """The highest ``min_confidence`` that still lets at least `coverage` of the answers through."""
    coverage: float
    """The share of answers at or above `threshold`; more than was asked for where several are equally sure."""
    selective_accuracy: float
    """Share of right answers among those."""


def calibration(answers: Iterable[tuple[float, bool]], *, coverage: float = 0.8) -> Calibration:
    """What the confidences of *answers* are worth, and the least confidence that answers *coverage* of the questions.

    The threshold is chosen on these answers and its accuracy is measured on them too, which is kind to it.

    The error is that of Naeini, Cooper and Hauskrecht (AAAI 2015); the area under the ROC curve is the statistic of Mann
    and Whitney.

    Args:
        answers: Confidence (0 to 1) and whether the answer was right, of questions that have an answer.
        coverage: Share of the questions that shall be answered, above 0 and up to 1.

    Raises:
        InputError: There are no answers, a confidence is none, or *coverage* is out of its range.
    """
    pairs = list(answers)
    for confidence, _ in pairs:
        if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise InputError(f"confidence={confidence!r}: give numbers from 0 to 1, as Answer.confidence has them")
    if not pairs:
        raise InputError("there is no answer to measure confidence by: give (confidence, right) of some")
    if isinstance(coverage, bool) or not isinstance(coverage, int | float) or not 0 < coverage <= 1:
        raise InputError(f"coverage={coverage!r}: give the share of questions to answer, above 0 and up to 1")
    ranked = sorted((confidence for confidence, _ in pairs), reverse=True)
    threshold = ranked[math.ceil(round(coverage * len(pairs), 9)) - 1]
    let_through = [right for confidence, right in pairs if confidence >= threshold]
    return Calibration(
        n=len(pairs),
        accuracy=sum(right for _, right in pairs) / len(pairs),
        auroc=_auroc(pairs),
        ece=_ece(pairs),
        threshold=threshold,
        coverage=len(let_through) / len(pairs),
        selective_accuracy=sum(let_through) / len(let_through),
    )


def _auroc(pairs: list[tuple[float, bool]]) -> float | None:
    wrong = sorted(confidence for confidence, right in pairs if not right)
    rights = [confidence for confidence, right in pairs if right]
    if not wrong or not rights:
        return None
    won = sum(bisect.bisect_left(wrong, each) + bisect.bisect_right(wrong, each) for each in rights) / 2
    return won / (len(wrong) * len(rights))


def _ece(pairs: list[tuple[float, bool]]) -> float:
    bins: dict[int, list[tuple[float, bool]]] = {}
    for confidence, right in pairs:
        bins.setdefault(min(int(confidence * BINS), BINS - 1), []).append((confidence, right))
    gaps = (abs(sum(confidence - right for confidence, right in members)) for members in bins.values())
    return math.fsum(gaps) / len(pairs)

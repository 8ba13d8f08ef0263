"""Money and time: what the answers of each contestant take, and from how many questions on the expert has paid for itself.

What was not measured is None here and "not measured" in words; nothing is filled in. A model that runs here costs the
machine's time, one that is reached through an API its tokens.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from text2expert.examiner.results import (
    BASE,
    EXPERT,
    EXPERT_RAG,
    LOOKUP,
    NO_PRICE,
    ORACLE,
    RAG,
    READER,
    ContestantCost,
    Economics,
    ExamResult,
    GivenAnswer,
)
from text2expert.examiner.statistics import best_reader
from text2expert.prices import Tariff
from text2expert.records import ExamQuestion

RUN_HERE: frozenset[str] = frozenset((BASE, EXPERT, RAG, ORACLE, EXPERT_RAG))
"""Contestants whose answers take the machine's time."""

NO_MODEL: frozenset[str] = frozenset((LOOKUP, READER))
"""Contestants without a model."""

FEW = 20
"""Answers; of fewer, the 95th percentile is little more than the slowest."""

NOT_MEASURED = "not measured"


def economics(
    exam: Sequence[ExamQuestion],
    answers: Iterable[GivenAnswer],
    *,
    making_usd: float | None,
    own_machine: bool = False,
    training_seconds: float | None = None,
    usd_per_hour: float | None = None,
    machine: str = "the machine that answered",
    price_is: str = "",
    prices: Mapping[str, Tariff] | None = None,
    run_here: Collection[str] = RUN_HERE,
) -> Economics:
    """What each contestant's answers take, and the break-even of the expert against the best contestant that reads.

    - Seconds are of answers asked alone (a batch of one); tokens are means per question.
    - Dollars per 1,000 questions: of a contestant in *prices*, its tokens at the dearest hour; of one in *run_here*, its
      seconds at *usd_per_hour*, as if nothing were paid between questions.
    - Making: what was paid; where the training ran on a machine of one's own, its seconds at *usd_per_hour*, too. Where that
      hour has no price (a processor), only what was paid, and the notes say so.
    - Break-even: making over what an answer of the expert costs less. None where the expert costs as much or more
      (never), or where something is not known; the notes say which.

    Args:
        exam: The questions.
        answers: Of all contestants.
        making_usd: What was paid to make the expert: for teaching, judging, training; None: not known.
        own_machine: Whether nothing was paid for the machine that trained it.
        training_seconds: That training took on it; None: not known.
        usd_per_hour: What an hour of the machine costs that answered; None: not known.
        machine: Its name, for what is said of it ("RTX 4090").
        price_is: Where *usd_per_hour* comes from when it is not what was paid ("a price of November 2026"); then it counts
            as assumed. Empty: it was paid.
        prices: Contestant -> what its model costs (`text2expert.prices.tariff`).
        run_here: Contestants whose answers take the machine's time.

    Raises:
        InputError: See `text2expert.examiner.statistics.grades`.
    """
    answers = list(answers)
    hour = _Hour(usd_per_hour, machine, price_is)
    by_contestant: dict[str, list[GivenAnswer]] = {}
    for answer in answers:
        by_contestant.setdefault(answer.contestant, []).append(answer)
    costs = tuple(
        _cost(name, mine, (prices or {}).get(name), hour, here=name in run_here) for name, mine in by_contestant.items()
    )
    against = best_reader(exam, answers)
    said: tuple[str, ...] = ()
    if own_machine:
        making_usd, said = _made_here(making_usd, training_seconds, hour)
    break_even, notes = _break_even({cost.contestant: cost for cost in costs}, against, making_usd)
    return Economics(costs=costs, making_usd=making_usd, against=against, break_even=break_even, notes=(*notes, *said))


@attrs.frozen
class _Hour:
    """What the machine's time costs."""

    usd: float | None
    machine: str
    source: str

    def __str__(self) -> str:
        return f"{usd_text(self.usd or 0.0)} an hour of {self.machine}"


def _made_here(paid: float | None, seconds: float | None, hour: _Hour) -> tuple[float | None, tuple[str, ...]]:
    """What an expert cost to make that was trained on a machine of one's own, and what is to be said of it."""
    if paid is None:
        return None, ()
    if hour.usd is None:
        said = f"Making the expert is counted as what was paid, {usd_text(paid)}: there is {NO_PRICE}."
        return paid, (f"{said} Say what an hour of it costs: usd_per_hour= (--usd-per-hour).",)
    if seconds is None:
        return None, (f"What the expert cost to make is not known: how long it was trained was {NOT_MEASURED}.",)
    trained = seconds / 3600 * hour.usd
    said = (
        f"Making the expert is counted as what was paid, {usd_text(paid)}, and {usd_text(trained)} for {_long(seconds)} of "
        f"training on a machine of your own: assumed, at {hour}{', ' if hour.source else ''}{hour.source}."
    )
    return paid + trained, (said,)


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.1f} hours" if seconds >= 5400 else f"{max(1, round(seconds / 60))} min"


def _cost(
    name: str, answers: Sequence[GivenAnswer], tariff: Tariff | None, hour: _Hour, *, here: bool
) -> ContestantCost:
    seconds = sorted(answer.seconds for answer in answers if answer.seconds is not None)
    counted = [
        (answer.tokens_in, answer.tokens_out)
        for answer in answers
        if answer.tokens_in is not None and answer.tokens_out is not None
    ]
    usd: float | None = None
    measured, assumed = [], []
    if seconds:
        measured.append(f"seconds of {len(seconds):,} answers, each asked alone")
        if len(seconds) < FEW:
            assumed.append(f"{len(seconds)} answers stand for all, the slowest for the 95th percentile")
    if counted:
        measured.append(f"tokens of {len(counted):,} answers")
    if tariff is not None:
        usd, said = _by_tokens(tariff, counted)
        assumed += said
    elif here and hour.usd is not None and seconds:
        usd = 1000 * statistics.fmean(seconds) / 3600 * hour.usd
        (assumed if hour.source else measured).append(f"{hour}, {hour.source}" if hour.source else f"{hour}, as paid")
        assumed.append("the machine is paid only while it answers, and answers one question at a time")
    elif name in NO_MODEL:
        assumed.append("without a model: no price is put on the processor's time")
    return ContestantCost(
        contestant=name,
        seconds_p50=statistics.median(seconds) if seconds else None,
        seconds_p95=_p95(seconds) if seconds else None,
        tokens_in=statistics.fmean(each for each, _ in counted) if counted else None,
        tokens_out=statistics.fmean(each for _, each in counted) if counted else None,
        usd_per_1000=usd,
        measured=tuple(measured),
        assumed=tuple(assumed),
    )


def _p95(ordered: Sequence[float]) -> float:
    """Between the two nearest values, as numpy and spreadsheets do it."""
    return statistics.quantiles(ordered, n=20, method="inclusive")[-1] if len(ordered) > 1 else ordered[0]


def _by_tokens(tariff: Tariff, counted: Sequence[tuple[int, int]]) -> tuple[float | None, list[str]]:
    """Dollars per 1,000 questions through an API, and what was assumed."""
    if not counted:
        return None, []
    spans = [tariff.span(tokens_in, 0, tokens_out) for tokens_in, tokens_out in counted]
    low, high = (1000 * float(sum(ends)) / len(spans) for ends in zip(*spans, strict=True))
    said = [f"the list price of {tariff.model}, with nothing read from a cache"]
    if low < high:
        said.append(f"the dearest hour of the day; at the cheapest it is {usd_text(low)}")
    return high, said


def _break_even(
    costs: Mapping[str, ContestantCost], against: str | None, making_usd: float | None
) -> tuple[float | None, tuple[str, ...]]:
    """Questions until the expert has cost less than *against*, and what is to be said of it."""
    if EXPERT not in costs:
        return None, ("There is no break-even: the expert was not asked.",)
    if against is None:
        return None, ("There is no break-even: no contestant that reads passages was asked.",)
    expert, other = costs[EXPERT].usd_per_1000, costs[against].usd_per_1000
    if expert is None or other is None:
        unknown = " and of ".join(repr(name) for name, usd in ((EXPERT, expert), (against, other)) if usd is None)
        return None, (f"The break-even is not known: the cost of an answer of {unknown} was {NOT_MEASURED}.",)
    left_out = (
        "Neither the time in which a machine waits for questions nor the upkeep of an index of passages is counted."
    )
    if expert == other == 0:
        msg = f"There is no break-even: answers cost nothing, neither with the expert nor with {against!r}."
        return None, (msg, left_out)
    if expert >= other:
        msg = (
            f"The expert never pays for itself against {against!r}: 1,000 answers cost {usd_text(expert)} with it and "
            f"{usd_text(other)} with {against!r}."
        )
        return None, (msg, left_out)
    if making_usd is None:
        return None, ("The break-even is not known: what the expert cost to make is not.", left_out)
    return 1000 * making_usd / (other - expert), (left_out,)


def usd_text(usd: float) -> str:
    """Dollars as people write them; below one, with two figures that count."""
    if usd == 0 or usd >= 1:
        return f"${usd:,.2f}"
    decimals = max(2, 1 - int(f"{usd:e}".partition("e")[2]))
    return f"${usd:.{decimals}f}"


@attrs.frozen(kw_only=True)
class MonthlyCost:
    """What a contestant costs in a month, in dollars; None: not known."""

    contestant: str
    usd: float | None
    """For the answers."""
    first_month_usd: float | None
    """With what the expert cost to make, where the contestant needs it."""


def monthly(economics: Economics, questions_per_month: float) -> tuple[MonthlyCost, ...]:
    """What each contestant costs in a month of *questions_per_month* questions."""
    found = []
    for cost in economics.costs:
        usd = None if cost.usd_per_1000 is None else cost.usd_per_1000 * questions_per_month / 1000
        making = economics.making_usd if cost.contestant in (EXPERT, EXPERT_RAG) else 0.0
        first = None if usd is None or making is None else usd + making
        found.append(MonthlyCost(contestant=cost.contestant, usd=usd, first_month_usd=first))
    return tuple(found)


@attrs.frozen(kw_only=True)
class Claim:
    """What is often claimed for fine-tuning over RAG, and what was found here."""

    name: str
    claimed_rag: str
    claimed_expert: str
    rag: str
    expert: str


def claims(result: ExamResult) -> tuple[Claim, ...]:
    """The usual table of fine-tuning against RAG, recomputed from *result*; ``not measured`` where it does not say.

    RAG is the contestant that the expert is compared with (`Economics.against`).
    """
    money = result.economics or Economics()
    costs = {cost.contestant: cost for cost in money.costs}
    rag, expert = costs.get(money.against or ""), costs.get(EXPERT)
    making = NOT_MEASURED if money.making_usd is None else usd_text(money.making_usd)
    if any(NO_PRICE in note for note in money.notes):
        making = f"{making} paid; {NO_PRICE}"
    again = NOT_MEASURED if money.making_usd is None else f"{NOT_MEASURED}; to make it again costs {making}"
    return (
        Claim(
            name="One question",
            claimed_rag="$0.01",
            claimed_expert="$0.0001",
            rag=_dollars(rag, 1),
            expert=_dollars(expert, 1),
        ),
        Claim(
            name="1,000,000 questions a month",
            claimed_rag="$10,000",
            claimed_expert="$50",
            rag=_dollars(rag, 1_000_000),
            expert=_dollars(expert, 1_000_000),
        ),
        Claim(
            name="Time to an answer",
            claimed_rag="2-5 s",
            claimed_expert="<100 ms",
            rag=_time(rag),
            expert=_time(expert),
        ),
        Claim(name="Making it, once", claimed_rag="$0-50", claimed_expert="$30-40", rag=NOT_MEASURED, expert=making),
        Claim(
            name="Questions that combine passages",
            claimed_rag="copies sections",
            claimed_expert="combines their rules",
            rag=_combining(result, money.against or ""),
            expert=_combining(result, EXPERT),
        ),
        Claim(
            name="When the document changes",
            claimed_rag="becomes stale",
            claimed_expert="never fails",
            rag=NOT_MEASURED,
            expert=again,
        ),
    )


def _dollars(cost: ContestantCost | None, questions: int) -> str:
    if cost is None or cost.usd_per_1000 is None:
        return NOT_MEASURED
    return usd_text(cost.usd_per_1000 * questions / 1000)


def _time(cost: ContestantCost | None) -> str:
    if cost is None or cost.seconds_p50 is None or cost.seconds_p95 is None:
        return NOT_MEASURED
    return f"{_seconds(cost.seconds_p50)}, 95 % within {_seconds(cost.seconds_p95)}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _combining(result: ExamResult, contestant: str) -> str:
    """How *contestant* did on questions that take two passages or more."""
    several = [
        group for group in result.groups if group.by == "hops" and group.name != "1" and group.contestant == contestant
    ]
    n = sum(group.n for group in several)
    right = sum(group.right for group in several)
    return f"{right} of {n} right" if n else NOT_MEASURED

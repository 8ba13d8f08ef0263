"""What answers take in time and money, what the expert cost to make, and when that is paid back."""

from text2expert.examiner.economics import claims
from text2expert.examiner.results import NEED_EXPERT, NO_PRICE, ContestantCost, Economics, ExamResult
from text2expert.legible import rounded
from text2expert.report import figures
from text2expert.report.findings import Findings
from text2expert.report.markup import Child, Html, bullets, joined, said, table, tag
from text2expert.report.scores import dollars, named, seconds

VOLUMES = (1_000, 10_000, 100_000, 1_000_000)


def money(found: Findings) -> Html:
    """Tables and plot of time and money; nothing where nothing was measured."""
    economics = found.result.economics if found.result else None
    if found.result is None or economics is None:
        return Html()
    return joined(
        _making(economics),
        _answers(found.result) if economics.costs else None,
        figures.cost(found.result),
        _volumes(economics),
        bullets(said(note) for note in economics.notes),
        _claims(found.result),
        _basis(economics.costs),
    )


def _making(economics: Economics) -> Html:
    lines: list[Child] = []
    if economics.making_usd is not None and not any(NO_PRICE in note for note in economics.notes):
        lines.append(f"Making the expert (teaching, judging, training) cost {dollars(economics.making_usd)}. ")
    if economics.break_even is not None and economics.against:
        lines += [
            "It has paid for itself, against ",
            named(economics.against),
            f", after {rounded(economics.break_even)} questions.",
        ]
    elif economics.against:
        lines += [
            "No number of questions is known after which it has paid for itself against ",
            named(economics.against),
            ".",
        ]
    return tag("p", *lines) if lines else Html()


def _answers(result: ExamResult) -> Html:
    costs = {cost.contestant: cost for cost in (result.economics.costs if result.economics else ())}
    rows = [
        [
            named(cost.contestant),
            seconds(cost.seconds_p50),
            dollars(cost.usd_per_1000),
            seconds(cost.seconds_p95),
            "–" if cost.tokens_in is None else f"{cost.tokens_in:,.0f}",
            "–" if cost.tokens_out is None else f"{cost.tokens_out:,.0f}",
        ]
        for cost in (
            costs[name] for name in (*result.contestants, *(costs.keys() - {*result.contestants})) if name in costs
        )
    ]
    head = ["Who", "Median, seconds", "$ per 1,000", "95 % within, seconds", "Tokens in", "Tokens out"]
    return table("An answer, asked alone; tokens are means", head, rows)


def _volumes(economics: Economics) -> Html:
    lines = economics.by_volume
    if not lines:
        return Html()
    rows = [
        [named(name), *(_whole(fixed + each * volume) for volume in VOLUMES)] for name, (fixed, each) in lines.items()
    ]
    made = table("US dollars in all", ["Who", *(f"{volume:,} questions" for volume in VOLUMES)], rows)
    if economics.making_usd and any(name in lines for name in NEED_EXPERT):
        return joined(made, tag("p", "The making of the expert is part of its sums.", class_="note"))
    return made


def _claims(result: ExamResult) -> Html:
    """What is often said of fine-tuning and RAG, beside what was found here."""
    rows = [
        [
            claim.name,
            joined(claim.expert, tag("small", claim.claimed_expert)),
            joined(claim.rag, tag("small", claim.claimed_rag)),
        ]
        for claim in claims(result)
    ]
    return joined(
        tag("h3", "What is often claimed, and what was found here"),
        table(
            "In small letters what is often claimed; above it what was measured here",
            ["", "The expert", "RAG"],
            rows,
            words=True,
        ),
    )


def _whole(usd: float) -> str:
    return f"${usd:,.0f}" if usd >= 100 else dollars(usd)


def _basis(costs: tuple[ContestantCost, ...]) -> Html:
    """What of it was measured, and what assumed; what holds of everybody is said once."""
    return joined(*(_said_of(costs, kind) for kind in ("measured", "assumed")))


def _said_of(costs: tuple[ContestantCost, ...], kind: str) -> Html:
    who: dict[str, list[str]] = {}
    for cost in costs:
        for said_of in getattr(cost, kind):
            who.setdefault(said_of, []).append(cost.contestant)
    items = [
        said(what) if len(names) == len(costs) else joined(said(what), tag("small", " ", said(", ".join(names))))
        for what, names in who.items()
    ]
    return joined(tag("h3", kind.capitalize()), bullets(items)) if items else Html()

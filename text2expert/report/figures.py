"""The plots of a page, each for a wide and for a narrow screen; or what to install for them."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from text2expert.errors import MissingExtraError
from text2expert.examiner.results import EXPERT, ExamResult
from text2expert.legible import percent
from text2expert.report.findings import Share
from text2expert.report.markup import Html, tag

if TYPE_CHECKING:
    from text2expert.plots import Plot


def accuracy(shares: Mapping[str, Share]) -> Html:
    """Right answers to unseen questions, with intervals."""
    if not shares:
        return Html()
    words = "; ".join(f"{name} {share.percent} ({share.between})" for name, share in shares.items())
    return _figure(
        "accuracy", "Right answers to unseen questions, in per cent, with 95 % intervals.", words,
        lambda width: _plots().accuracy({name: (one.right, one.n) for name, one in shares.items()}, strong=EXPERT, width=width),
    )  # fmt: skip


def rows(result: ExamResult) -> Html:
    """Right answers by kind of question, of the expert, its base and the best of the others."""
    others = [name for name in result.contestants if name not in (EXPERT, "base")]
    against = result.economics.against if result.economics else None
    best = against if against in others else max(others, key=lambda name: _right(result, name), default=None)
    shown = [name for name in (EXPERT, "base", best) if name in result.contestants]
    if not shown:
        return Html()
    return _figure(
        "rows", "Right answers by kind of question, in per cent, with 95 % intervals.", "The table above has its numbers.",
        lambda width: _plots().rows(result.by_row(shown), width=width),
    )  # fmt: skip


def _right(result: ExamResult, name: str) -> int:
    return sum(score.right for score in result.scores if score.contestant == name)


def cost(result: ExamResult) -> Html:
    """Cost against volume, where there is something to compare."""
    money = result.economics
    if money is None or len(money.by_volume) < 2:
        return Html()
    return _figure(
        "cost", "What answering costs in all, the making of the expert included. The dot is where the expert has paid for itself.", "The table below has its numbers.",
        lambda width: _plots().cost(money.by_volume, break_even=money.break_even, against=money.against, width=width),
    )  # fmt: skip


def loss(log: Sequence[Mapping[str, Any]]) -> Html:
    """The training loss."""
    if not log:
        return Html()
    words = f"From {log[0]['loss']:.3g} at step {log[0]['step']} to {log[-1]['loss']:.3g} at step {log[-1]['step']}."
    caption = "Loss of each training step."
    if shares := [line["validation"] for line in log if isinstance(line.get("validation"), int | float)]:
        caption = "Loss of each training step; below it, how many of the validation questions were answered right."
        words += f" At best {percent(max(shares))} right in validation."
    return _figure("loss", caption, words, lambda width: _plots().loss(log, width=width))


def _plots() -> Any:
    from text2expert import plots  # noqa: PLC0415 - half a second, and an extra that may be missing

    return plots


def _figure(name: str, caption: str, words: str, draw: Callable[[float], "Plot"]) -> Html:
    """The plot twice, of which a page shows the one that fits.

    Args:
        name: Begins the ids in it.
        caption: What it shows.
        words: What it says, for those who do not see it.
        draw: Draws it in a width.
    """
    try:
        plots = _plots()
        drawn = [
            Html(plots.svg(draw(width), prefix=f"{name}-{class_}-", class_=class_))
            for class_, width in (("wide", plots.WIDE), ("narrow", plots.NARROW))
        ]
    except MissingExtraError as missing:
        return _not_drawn(caption, f"{str(missing)[0].upper()}{str(missing)[1:]}")
    except Exception as error:  # noqa: BLE001 - matplotlib's, on numbers that nobody foresaw: its table stands all the same
        return _not_drawn(caption, f"{type(error).__name__}: {error!s:.200}")
    return tag(
        "figure",
        tag("div", *drawn, role="img", aria_label=f"{caption} {words}"),
        tag("figcaption", caption),
        id=f"plot-{name}",
    )


def _not_drawn(caption: str, why: str) -> Html:
    return tag("p", f"Not drawn: {caption[0].lower()}{caption[1:]} {why}", class_="note")

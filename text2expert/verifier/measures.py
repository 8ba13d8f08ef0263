"""How far verdicts can be trusted, and what they say of the pairs that were not judged."""

from collections.abc import Iterable

import attrs

from text2expert.records import QAPair, Verdict, wilson

MECHANICAL = "evidence"
"""Who a verdict of the free check is by."""


@attrs.frozen(kw_only=True)
class ControlReport:
    """What a judge made of what was planted to measure it."""

    caught: int
    """Known-bad items that it rejected."""
    planted_bad: int
    """Known-bad items that it judged."""
    false_alarms: int
    """Known-good items that it rejected."""
    planted_good: int
    """Known-good items that it judged."""

    @property
    def catch_interval(self) -> tuple[float, float] | None:
        """The 95 % interval (Wilson) of the share of bad items that it rejects; None where none was planted."""
        return wilson(self.caught, self.planted_bad) if self.planted_bad else None

    @property
    def false_alarm_interval(self) -> tuple[float, float] | None:
        """The 95 % interval (Wilson) of the share of good items that it rejects; None where none was planted."""
        return wilson(self.false_alarms, self.planted_good) if self.planted_good else None

    def __str__(self) -> str:
        return "; ".join(
            [
                f"caught {_share(self.caught, self.planted_bad)} planted faults",
                f"rejected {_share(self.false_alarms, self.planted_good)} planted good pairs",
            ]
        )


@attrs.frozen(kw_only=True)
class Approval:
    """How many of the judged items were approved, as an estimate for those that were not judged."""

    approved: int
    judged: int

    @property
    def share(self) -> float | None:
        """Of approved items among the judged, 0 to 1; None where none was judged."""
        return self.approved / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval (Wilson) of `share`; None where none was judged."""
        return wilson(self.approved, self.judged) if self.judged else None

    def __str__(self) -> str:
        return f"approved {_share(self.approved, self.judged)} judged questions"


def control_report(verdicts: Iterable[Verdict]) -> ControlReport:
    """What *verdicts* say of the judge itself; those on pairs of the teacher are passed over."""
    counted = [verdict for verdict in verdicts if verdict.control]
    bad = [not verdict.approved for verdict in counted if verdict.control == "bad"]
    good = [not verdict.approved for verdict in counted if verdict.control == "good"]
    return ControlReport(caught=sum(bad), planted_bad=len(bad), false_alarms=sum(good), planted_good=len(good))


def approval(verdicts: Iterable[Verdict], pairs: Iterable[QAPair]) -> Approval:
    """The approval rate of the unverified rest of *pairs*, estimated from the items that a model judged.

    Items are counted, not wordings, which share one verdict. What the evidence check rejected is not counted: the
    unverified rest has passed it. An item is approved where any of its wordings is.
    """
    by_pair = {
        verdict.qa_id: verdict.approved
        for verdict in verdicts
        if verdict.by not in {MECHANICAL, "text2expert"} and not verdict.control
    }
    items: dict[tuple[str, str], bool] = {}
    for pair in pairs:
        if pair.qa_id in by_pair:
            item = (pair.item, pair.answer) if pair.item else ("", pair.qa_id)
            items[item] = items.get(item, False) or by_pair[pair.qa_id]
    return Approval(approved=sum(items.values()), judged=len(items))


def _share(count: int, of: int) -> str:
    if not of:
        return "0 of 0"
    low, high = wilson(count, of)
    return f"{count:,} of {of:,} ({100 * low:.0f} to {100 * high:.0f} %)"

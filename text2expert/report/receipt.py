"""The receipt of a run: what it was made from, by whom, with which settings, and what that cost."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from pathlib import PurePath
from typing import Any

from text2expert.records import ROW_TITLES
from text2expert.report.findings import Findings
from text2expert.report.markup import Child, Html, joined, more, said, table, tag

_ADDENDS = {
    "duplicates": "duplicates",
    "rejected": "rejected",
    "unverified": "not verified",
    "exam": "kept out for the exam",
    "gold": "golden",
}
"""Of ``parsed``: every pair that was written is one of these."""

_COUNTED = {
    "items": "different questions",
    "gold_items": "of them golden",
    "exam_items": "of them in the exam",
    "facts": "facts that they ask for",
    **{f"questions.{row}": f"exam: {title}" for row, title in ROW_TITLES.items()},
}

_ABSOLUTE = re.compile(r"^(?:/|[A-Za-z]:[\\/])\S*$")


def receipt(found: Findings) -> Html:
    """Tables of ``run.json``. Of paths only the last part is shown: a page is sent to others."""
    said_there = found.receipt
    if not said_there:
        return Html()
    return joined(
        _pairs("Documents", _documents(said_there)),
        _pairs("Models", ((str(name), _value(value)) for name, value in _dict(said_there, "models").items() if value is not None)),
        _counts(said_there),
        _costs(said_there),
        _pairs("Training", ((name.replace("_", " "), _value(value)) for name, value in _flat(_dict(said_there, "training")))),
        more("Settings", _pairs("Settings", ((name, _value(value)) for name, value in _flat(_dict(said_there, "settings"))))),
        more("Files and their SHA-256", _pairs("Files", ((name, tag("code", str(value))) for name, value in _dict(said_there, "files").items()))),
        tag("p", f"text2expert {_value(said_there.get('text2expert', ''))}, finished {_value(said_there.get('finished', ''))}.", class_="note"),
    )  # fmt: skip


def documents(receipt: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What *receipt* says of the documents, as far as it says it in its own form."""
    found = receipt.get("documents")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _documents(receipt: Mapping[str, Any]) -> Iterator[tuple[str, Child]]:
    for document in documents(receipt):
        size = document.get("n_chars")
        yield (
            str(document.get("title", "")),
            joined(
                f"{size:,} characters" if isinstance(size, int) else "",
                tag("small", "SHA-256 ", tag("code", str(document.get("text_sha256", "")))),
            ),
        )
    if dataset := _dict(receipt, "dataset"):
        yield (_value(dataset.get("path", "a golden dataset")), tag("code", str(dataset.get("sha256", ""))))


def _counts(receipt: Mapping[str, Any]) -> Html:
    counts = _dict(receipt, "counts")
    addends = {name: counts[name] for name in _ADDENDS if isinstance(counts.get(name), int)}
    parts: list[Child] = []
    if isinstance(parsed := counts.get("parsed"), int) and len(addends) == len(_ADDENDS):
        total = sum(addends.values())
        sums = " + ".join(f"{value:,} {_ADDENDS[name]}" for name, value in addends.items())
        parts.append(
            tag("p", f"{parsed:,} pairs were written = {sums}.")
            if total == parsed
            else tag(
                "p",
                f"{parsed:,} pairs were written, but {sums} make {total:,}: the counts do not add up.",
                class_="warning",
            )
        )
    rest = (
        (_COUNTED.get(name, name.replace("_", " ")), _value(value))
        for name, value in _flat(counts)
        if name not in {*addends, "parsed"}
    )
    return joined(tag("h3", "Counts"), *parts, _pairs("Counts", rest, title=False))


def _costs(receipt: Mapping[str, Any]) -> Html:
    total = _decimal(receipt.get("cost_usd"))
    if total is None:
        return Html()
    scopes = {
        str(name): (_decimal(scope.get("settled_usd")) or Decimal(0), _decimal(scope.get("lost_usd_at_most")) or Decimal(0), scope.get("replies"))
        for name, scope in _dict(receipt, "costs").items()
        if isinstance(scope, Mapping)
    }  # fmt: skip
    other = total - sum((settled for settled, _, _ in scopes.values()), Decimal(0))
    rows: list[list[Child]] = [
        [name, usd(settled), usd(lost) if lost else "–", _value(replies)]
        for name, (settled, lost, replies) in scopes.items()
    ]
    if other and scopes:
        rows.append(["other", usd(other), "–", "–"])
    lost = _decimal(receipt.get("lost_usd_at_most"))
    rows.append([tag("strong", "all"), tag("strong", usd(total)), usd(lost) if lost else "–", ""])
    held = _decimal(receipt.get("rent_held_usd_at_most"))
    took = receipt.get("seconds")
    return joined(
        tag("h3", "Costs"),
        table("Costs in US dollars", ["For", "Paid", "Lost at most", "Replies"], rows),
        _rented(receipt.get("rented")),
        tag("p", f"At most {usd(held)} more for a machine that is not known to be gone.", class_="warning")
        if held
        else None,
        tag("p", f"The last run took {took:,.0f} seconds.") if isinstance(took, int | float) else None,
    )


def _rented(machines: Any) -> Html:
    """The machines that were rented, one a line."""
    rows: list[list[Child]] = [
        [str(each.get("instance", "")), str(each.get("gpu") or "–"), str(each.get("where") or "–"), _value(each.get("hours")), usd(_decimal(each.get("usd")) or Decimal(0))]
        for each in (machines if isinstance(machines, list) else ())
        if isinstance(each, Mapping)
    ]  # fmt: skip
    return table("Machines that were rented", ["Instance", "GPU", "Region", "Hours", "Paid"], rows) if rows else Html()


def usd(value: Decimal) -> str:
    """Exact dollars: every digit that was paid."""
    return f"${value:,.2f}" if value == value.quantize(Decimal("0.01")) else f"${value:,f}"


def _pairs(name: str, pairs: Any, *, title: bool = True) -> Html:
    """Names and values, one under the other."""
    shown = [(key, value) for key, value in pairs if value not in ("", None)]
    if not shown:
        return Html()
    listed = tag("dl", *([tag("dt", said(key)), tag("dd", value)] for key, value in shown), class_="pairs")
    return joined(tag("h3", name), listed) if title else listed


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as names with dots; what is not set is left out."""
    for name, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{before}{name}.")
        elif each is not None and each not in ("", []):
            yield f"{before}{name}", each


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, str) and _ABSOLUTE.match(value):
        return PurePath(value.replace("\\", "/")).name
    return "" if value is None else str(value)


def _dict(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}


def _decimal(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value)) if value is not None else None
    except InvalidOperation:
        return None

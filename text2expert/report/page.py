"""The page: its sections in their order, its policy, and what of them there is."""

import base64
import hashlib
from datetime import datetime
from pathlib import Path

from text2expert.report import coverage, figures, money, questions, receipt, scores
from text2expert.report.findings import Findings
from text2expert.report.markup import Html, joined, said, tag
from text2expert.report.passages import Passages

_HERE = Path(__file__).parent


def page(found: Findings) -> str:
    """One HTML file that needs no other: no network, no font, no image, and nothing in it may reach for one."""
    style, script = (_HERE.joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    # Only this style and this script may act, by their hashes: markup that got in by mistake could do nothing.
    policy = (
        f"default-src 'none'; style-src '{_sha256(style)}'; script-src '{_sha256(script)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    passages = Passages(found.chunks)
    fate = coverage.fates(found, passages)
    shelf = coverage.shelf(found, fate)
    links = {
        chunk.id: tag("a", f"passage {passages.number(chunk.id)}", href=f"#{passages.anchor(chunk)}") for chunk in shelf
    }
    sections = [
        ("scores", "Scores", "Scores", scores.scores(found) if found.result else None),
        ("money", "Cost", "Time and money", money.money(found)),
        (
            "coverage",
            "Coverage",
            "Coverage of the document",
            coverage.coverage(found, fate, passages, links) if found.chunks else None,
        ),
        ("training", "Training", "Training", figures.loss(found.log)),
        ("questions", "Questions", "Every question", questions.questions(found, passages) if found.exam else None),
        ("receipt", "Receipt", "Receipt", receipt.receipt(found)),
        ("passages", "Passages", "Every passage", coverage.texts(found, shelf, fate, passages) if shelf else None),
    ]
    shown = [each for each in sections if each[-1]]
    title = document_title(found)
    body = joined(
        tag("header", tag("p", "text2expert report: ", said(title), _dated(found), class_="eyebrow"),
            scores.verdict(found, links), tag("aside", *(tag("p", caveat) for caveat in found.caveats)) if found.caveats else None),
        tag("nav", *(tag("a", name, href=f"#{anchor}") for anchor, name, _, _ in shown), aria_label="Sections"),
        tag("main", *(tag("section", tag("h2", heading), body, id=anchor) for anchor, _, heading, body in shown)),
    )  # fmt: skip
    head = joined(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{title}: text2expert report"),
        tag("link", rel="icon", href="data:,"),
        Html(f"<style>{style}</style>"),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}<script>{script}</script></body></html>\n'
    )


def document_title(found: Findings) -> str:
    """What the run is about: the titles of its documents, or the folder's name."""
    titles = [str(each.get("title") or each.get("id") or "") for each in receipt.documents(found.receipt)]
    if not titles:
        return found.name
    return ", ".join(titles) if len(titles) <= 3 else f"{titles[0]} and {len(titles) - 1} more"


def _dated(found: Findings) -> str:
    try:
        return f", {datetime.fromisoformat(str(found.receipt.get('finished'))):%-d %B %Y}"
    except ValueError:
        return ""


def _sha256(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"

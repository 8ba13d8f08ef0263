"""HTML that is escaped by construction: what is not `Html` is text, wherever it came from."""

import html
from collections.abc import Iterable

from text2expert.legible import visible

_VOID = frozenset({"input", "meta", "link", "br", "hr", "path", "rect", "col"})


class Html(str):
    """Markup that is as it should be."""

    __slots__ = ()


Child = str | Iterable["Child"] | None
"""What an element may hold: text, `Html`, several of these, or nothing."""


def text(value: str) -> Html:
    """*value* as text of a page, or as the value of an attribute in double quotes."""
    return Html(html.escape(visible(value)))


def joined(*children: Child) -> Html:
    """*children* one after another."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(text(child))
        elif child is not None:
            parts.append(joined(*child))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """An element. ``class_="a"`` is written ``class="a"``, ``data_row`` ``data-row``; True is an attribute without value.

    None and False leave an attribute out.
    """
    given = []
    for key, value in attributes.items():
        shown = key.rstrip("_").replace("_", "-")
        if value is True:
            given.append(f" {shown}")
        elif value is not None and value is not False:
            given.append(f' {shown}="{text(str(value))}"')
    start = f"<{name}{''.join(given)}>"
    return Html(start) if name in _VOID else Html(f"{start}{joined(*children)}</{name}>")


def said(value: str, name: str = "span", **attributes: str | int | bool | None) -> Html:
    """*value*, which a document, a model or a user wrote: its direction of writing is its own, and stays in it."""
    return tag(name, value, dir="auto", **attributes)


def table(caption: str, head: Iterable[Child], rows: Iterable[Iterable[Child]], *, words: bool = False) -> Html:
    """A table with a header row; the first cell of each row is its header.

    Args:
        caption: Says what it shows, also to those who do not see it.
        head: Names of the columns.
        rows: Cells.
        words: Whether its cells hold words, which may be broken over lines, and not figures alone.
    """
    body = [
        tag(
            "tr",
            *(tag("th", cell, scope="row") if column == 0 else tag("td", cell) for column, cell in enumerate(cells)),
        )
        for cells in rows
    ]
    made = tag(
        "table",
        tag("caption", tag("span", caption)),
        tag("thead", tag("tr", *(tag("th", name, scope="col") for name in head))),
        tag("tbody", *body),
    )
    # A box that scrolls must be reachable by the keyboard, and then it needs a name.
    class_ = "scroll words" if words else "scroll"
    return tag("div", made, class_=class_, tabindex=0, role="group", aria_label=caption)


def bullets(items: Iterable[Child]) -> Html:
    """An unordered list, nothing where there are no items."""
    shown = [tag("li", item) for item in items]
    return tag("ul", *shown) if shown else Html()


def more(summary: Child, *children: Child, **attributes: str | int | bool | None) -> Html:
    """What is one click away."""
    return tag("details", tag("summary", summary), *children, **{"class_": "more", **attributes})

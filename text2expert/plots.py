"""Plots of an exam, as matplotlib figures and as SVG that takes its colours from the page around it."""

import base64
import html
import io
import math
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

from text2expert.errors import MissingExtraError
from text2expert.legible import percent, rounded, short
from text2expert.records import wilson

try:
    from matplotlib import style
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError as error:
    _msg = f'plots need {error.name}, which is not installed: pip install "text2expert[report]"'
    raise MissingExtraError(_msg) from error

WIDE, NARROW = 9.4, 4.5
"""Widths in inches: of a column of text, and of a phone. 72 units of an SVG are an inch, about one a pixel there."""

LABEL = 26
"""Characters of a contestant's name beside a plot."""

INK, MUTED, LINE = "#24292f", "#5d666f", "#d5d9de"
SERIES = ("#0b62b0", "#5d6671", "#b7500a", "#0d7a5f", "#8b4a9c", "#7a6a00", "#a8324a", "#3a6f8f")
"""In this order: the expert, the base, and others. They differ in lightness too, and lines also in dashes and labels."""

DASHES = ("solid", (0, (1, 1.5)), (0, (5, 2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 3)), (0, (3, 1.5)), (0, (2, 3)), "dotted")

_CLASSES = {
    INK: "ink",
    MUTED: "muted",
    LINE: "line",
    **{colour: f"s{number}" for number, colour in enumerate(SERIES)},
}
_SVG = "{http://www.w3.org/2000/svg}"
_XLINK = "{http://www.w3.org/1999/xlink}href"
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "text2expert",
    "font.size": 11.0,
    "axes.labelsize": "medium",
    "text.parse_math": False,  # a dollar sign is one
}

_styled = style.context(["default", _SETTINGS])
"""Our settings, whatever style a notebook or a user's own matplotlibrc has chosen."""


class Plot(Figure):
    """A figure that shows itself in a notebook, whether or not one has set up matplotlib there."""

    def _repr_svg_(self) -> str:
        return _drawn(self, transparent=False)

    def as_image(self, says: str) -> str:
        """An element of HTML that holds the figure, as wide as there is room; *says* is for those who do not see it."""
        data = base64.b64encode(self._repr_svg_().encode()).decode()
        width = round(72 * float(self.get_figwidth()))
        return f'<img alt="{html.escape(says)}" style="width:{width}px;max-width:100%" src="data:image/svg+xml;base64,{data}">'


@_styled
def accuracy(shares: Mapping[str, tuple[int, int]], *, strong: str = "", width: float = WIDE) -> Plot:
    """What share of the questions each contestant got right, with 95 % intervals (Wilson).

    Args:
        shares: Contestant -> how many it got right, and how many it was asked (1 or more).
        strong: The contestant that stands out.
        width: In inches.
    """
    plot = Plot(figsize=(width, 0.4 + 0.38 * max(1, len(shares))), layout="constrained")
    axes = _axes(plot)
    for place, (name, (right, n)) in enumerate(shares.items()):
        low, high = wilson(right, n)
        colour = SERIES[0] if name == strong else MUTED
        axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=3, solid_capstyle="round")
        axes.plot(100 * right / n, place, "o", color=colour, markersize=8)
        axes.annotate(
            percent(right / n), (100 * high, place), xytext=(8, 0), textcoords="offset points", va="center", color=INK
        )
    axes.set_yticks(range(len(shares)), [short(name, LABEL) for name in shares])
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlim(-2, 113)
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x")
    axes.tick_params(axis="y", labelcolor=INK)
    return plot


@_styled
def rows(cells: Mapping[str, Mapping[str, tuple[int, int]]], *, width: float = WIDE) -> Plot:
    """What contestants got right on each row of an exam, with 95 % intervals (Wilson).

    Args:
        cells: Title of a row -> contestant -> how many it got right, and how many it was asked.
        width: In inches.
    """
    contestants = list(dict.fromkeys(name for mine in cells.values() for name in mine))
    high_as = 0.9 + max(0.52, 0.17 * len(contestants)) * max(1, len(cells))
    plot = Plot(figsize=(width, high_as), layout="constrained")
    axes = _axes(plot)
    handles: dict[str, Line2D] = {}
    apart = min(0.22, 0.8 / max(1, len(contestants)))
    for number, name in enumerate(contestants):
        colour, marker = SERIES[number % len(SERIES)], "osD^vPX*"[number % 8]
        offset = apart * (number - (len(contestants) - 1) / 2)
        for place, mine in enumerate(cells.values()):
            if name not in mine:
                continue
            right, n = mine[name]
            low, high = wilson(right, n)
            axes.plot([100 * low, 100 * high], [place + offset] * 2, color=colour, linewidth=2)
            (handles[name],) = axes.plot(100 * right / n, place + offset, marker, color=colour, markersize=6)
    axes.set_yticks(range(len(cells)), [_wrapped(title, width) for title in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlim(-2, 102)
    axes.set_xticks(range(0, 101, 25))
    axes.grid(axis="x")
    axes.tick_params(axis="y", labelcolor=INK)
    _legend(plot, handles, width)
    return plot


@_styled
def cost(
    lines: Mapping[str, tuple[float, float]], *, break_even: float | None = None, against: str | None = None,
    width: float = WIDE,
) -> Plot:  # fmt: skip
    """What answering takes in all, in US dollars, against the number of questions, and where the expert has paid for itself.

    Args:
        lines: Contestant -> dollars before the first question, and with each.
        break_even: Questions after which the first has cost no more than *against*.
        against: One of *lines*.
        width: In inches.
    """
    most = 10 ** math.ceil(math.log10(max(100_000.0, 10 * (break_even or 0))))
    volumes = [10 ** (exponent / 20) for exponent in range(40, round(20 * math.log10(most)) + 1)]
    plot = Plot(figsize=(width, 3.8), layout="constrained")
    axes = _axes(plot)
    handles: dict[str, Line2D] = {}
    for number, (name, (fixed, each)) in enumerate(lines.items()):
        (handles[name],) = axes.plot(
            volumes, [fixed + each * volume for volume in volumes], color=SERIES[number % len(SERIES)],
            linestyle=DASHES[number % len(DASHES)], linewidth=2,
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(volumes[0], volumes[-1])
    top = max(fixed + each * volumes[-1] for fixed, each in lines.values())
    least = min(fixed + each * volumes[0] for fixed, each in lines.values())
    axes.set_ylim(max(least, top / 1e5), 2 * top)
    if break_even and against is not None and against in lines and volumes[0] <= break_even <= volumes[-1]:
        fixed, each = lines[against]
        axes.axvline(break_even, color=MUTED, linewidth=0.8)
        axes.plot(break_even, fixed + each * break_even, "o", color=INK, markersize=7)
        left = break_even**2 < volumes[0] * volumes[-1]
        axes.annotate(
            f"{rounded(break_even)} questions", (break_even, 1), xycoords=("data", "axes fraction"), xytext=(6 if left else -6, -4),
            textcoords="offset points", ha="left" if left else "right", va="top", color=INK,
        )  # fmt: skip
    axes.xaxis.set_major_formatter(lambda value, _: _thousands(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"${value:,.0f}" if value >= 1 else f"${value:.6g}")
    axes.minorticks_off()
    axes.set_xlabel("questions answered in all")
    axes.set_ylabel("US dollars in all")
    axes.grid()
    _legend(plot, handles, width)
    return plot


@_styled
def loss(log: Sequence[Mapping[str, Any]], *, width: float = WIDE) -> Plot:
    """The loss of each training step, and the share of validation answers that were right where it was asked.

    Args:
        log: Lines of training_log.jsonl.
        width: In inches.
    """
    validated = [line for line in log if isinstance(line.get("validation"), int | float)]
    plot = Plot(figsize=(width, 3.0 + (1.5 if validated else 0)), layout="constrained")
    upper, *lower = plot.subplots(
        2 if validated else 1, sharex=True, squeeze=False, height_ratios=[2, 1][: 1 + bool(validated)]
    )[:, 0]
    for axes in (upper, *lower):
        _quiet(axes)
        axes.grid(axis="y")
    steps, losses = _thinned([(line["step"], line["loss"]) for line in log])
    upper.plot(steps, losses, color=SERIES[0], linewidth=1.5)
    upper.set_ylim(bottom=0)
    upper.set_ylabel("loss")
    for axes in lower:
        axes.plot(
            [line["step"] for line in validated], [100 * line["validation"] for line in validated],
            "o-", color=SERIES[2], linewidth=1.5, markersize=4,
        )  # fmt: skip
        axes.set_ylim(-4, 104)
        axes.set_yticks([0, 50, 100])
        axes.set_ylabel("validation,\n% right")
    (*_, last) = (upper, *lower)
    last.set_xlabel("step")
    plot.align_ylabels()
    return plot


def _thinned(points: list[tuple[float, float]], most: int = 500) -> tuple[list[float], list[float]]:
    """*points*, or the means of equal stretches of them, where there are more than a picture can show."""
    stretch = math.ceil(len(points) / most) or 1
    cuts = [points[start : start + stretch] for start in range(0, len(points), stretch)]
    return [cut[-1][0] for cut in cuts], [sum(value for _, value in cut) / len(cut) for cut in cuts]


def _axes(plot: Plot) -> Axes:
    axes = plot.subplots()
    _quiet(axes)
    return axes


def _quiet(axes: Axes) -> None:
    """A plot of its data: no frame, no ticks, and a grid that stays behind."""
    axes.spines[:].set_visible(False)
    axes.grid(color=LINE, linewidth=0.8)
    axes.grid(visible=False)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=MUTED, which="both")
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)


def _legend(plot: Plot, handles: Mapping[str, Line2D], width: float) -> None:
    """Who is drawn how, above the plot."""
    legend = plot.legend(
        list(handles.values()), list(map(str, range(len(handles)))), loc="outside upper left",
        ncols=2 if width <= NARROW else 3, frameon=False, borderpad=0,
    )  # fmt: skip
    for label, name in zip(legend.get_texts(), handles, strict=True):
        label.set_text(short(name, LABEL))  # matplotlib takes no label that begins with an underscore
        label.set_color(INK)


def _wrapped(title: str, width: float) -> str:
    if width > NARROW or len(title) < 18:
        return title
    middle = min(
        (place for place, letter in enumerate(title) if letter == " "), key=lambda place: abs(place - len(title) / 2)
    )
    return f"{title[:middle]}\n{title[middle + 1 :]}"


def _thousands(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    return f"{value / 1e3:g} k" if value >= 1e3 else f"{value:g}"


def svg(plot: Plot, *, prefix: str, class_: str = "") -> str:
    """*plot* as an SVG element for a page: no style of its own, but classes (``f-ink``, ``s-line``, ``s-s0`` ...).

    It is hidden from screen readers: what it shows must stand beside it.

    Args:
        plot: What to draw.
        prefix: Begins every id, so that two plots on a page do not share one.
        class_: Of the SVG element.
    """
    root = ET.fromstring(_drawn(plot, transparent=True))  # noqa: S314 - it was drawn here
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{_SVG}metadata", f"{_SVG}style"):
                parent.remove(child)
    for element in root.iter():
        _restyle(element)
        if (name := element.attrib.pop("id", None)) and element.tag != f"{_SVG}g":
            element.set("id", prefix + name)
        if target := element.attrib.pop(_XLINK, None):
            element.set("href", f"#{prefix}{target.removeprefix('#')}")
        if clip := element.attrib.get("clip-path"):
            element.set("clip-path", clip.replace("url(#", f"url(#{prefix}"))
        if (path := element.attrib.get("d")) is not None:
            element.set("d", re.sub(r"(\d\.\d\d)\d+", r"\1", " ".join(path.split())))
        element.tag = element.tag.removeprefix(_SVG)
        element.tail = None
        if element.tag != "text":
            element.text = None
    width, height = (root.attrib[name].removesuffix("pt") for name in ("width", "height"))
    root.attrib.clear()
    root.attrib |= {
        "class": f"plot {class_}".strip(),
        "width": width,
        "height": height,
        "viewBox": f"0 0 {width} {height}",
    }
    root.attrib |= {"aria-hidden": "true", "focusable": "false"}
    return ET.tostring(root, encoding="unicode")


def _restyle(element: ET.Element) -> None:
    """Turn a style into classes and attributes: a page's policy may forbid it, and it would beat the page's colours."""
    classes = []
    for declaration in filter(None, map(str.strip, element.attrib.pop("style", "").split(";"))):
        name, value = map(str.strip, declaration.split(":", 1))
        if value in _CLASSES:
            classes.append(f"{name[0]}-{_CLASSES[value]}")
        elif name == "font" and (size := re.match(r"([\d.]+)px", value)):
            element.set("font-size", size[1])
        elif name not in ("font", "font-family", "stroke-linejoin"):
            element.set(name, value.removesuffix("px"))
    if classes:
        element.set("class", " ".join(classes))


@_styled
def _drawn(plot: Plot, *, transparent: bool) -> str:
    out = io.StringIO()
    with warnings.catch_warnings():
        # Text stays text: the reader's fonts draw it, whether or not matplotlib's own have its letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        plot.savefig(out, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    return out.getvalue()

"""The picture of the training log."""

import xml.etree.ElementTree as ET

import pytest

SVG = "{http://www.w3.org/2000/svg}"


def lines_of(count, every=None):
    return [
        {"step": n, "loss": 4 / n} | ({"validation": n / count} if every and n % every == 0 else {})
        for n in range(1, count + 1)
    ]


def drawn(recipes, lines):
    root = ET.fromstring(recipes["plot"].loss_svg(lines))
    curves = {curve.get("class"): curve.get("points").split() for curve in root.iter(f"{SVG}polyline")}
    return root, curves


def points(words):
    return [tuple(map(float, word.split(","))) for word in words]


@pytest.mark.parametrize("count", [1, 2, 40, 600, 601, 5000])
def test_the_curve_spans_the_picture_and_stays_inside(recipes, count):
    """From the first step to the last, falling as the loss does, however many steps there are."""
    plot = recipes["plot"]
    root, curves = drawn(recipes, lines_of(count))
    curve = points(curves["loss"])
    assert len(curve) <= plot.POINTS
    assert curve[-1][0] == plot.RIGHT
    assert all(plot.LEFT <= x <= plot.RIGHT and plot.TOP - 0.1 <= y <= plot.BOTTOM for x, y in curve)
    assert [y for _, y in curve] == sorted(y for _, y in curve)  # down the page
    assert "share" not in curves
    assert f"after {count} steps" in "".join(root.itertext())


def test_validation_is_drawn_where_it_was_asked(recipes):
    """A second curve from none right at the bottom to all right at the top, each point with its figure."""
    plot = recipes["plot"]
    root, curves = drawn(recipes, lines_of(100, every=25))
    assert [x for x, _ in points(curves["share"])] == pytest.approx(
        [plot.LEFT + (plot.RIGHT - plot.LEFT) * n / 100 for n in (25, 50, 75, 100)], abs=0.1
    )
    assert points(curves["share"])[-1][1] == pytest.approx(plot.TOP, abs=0.1)
    assert "step 50: 50.0% of the validation answers right" in [title.text for title in root.iter(f"{SVG}title")]


def test_a_log_without_a_step_is_an_empty_picture(recipes):
    """max_steps may be so small, or the log lost."""
    _, curves = drawn(recipes, [])
    assert curves == {"loss": []}


def test_it_has_colours_for_dark_pages(recipes):
    """And calls nothing from elsewhere."""
    text = recipes["plot"].loss_svg(lines_of(10))
    assert "prefers-color-scheme: dark" in text
    assert text.count("http") == 1  # the name of the language

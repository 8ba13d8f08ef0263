"""The plots of a report: what is drawn, in whose colours, and that any name may stand in them."""

import re
from pathlib import Path

import attrs
import pages
import pytest
import reports

from text2expert import legible, plots, report
from text2expert.errors import InputError
from text2expert.examiner.results import ContestantCost, Economics, ExamResult, ExamScore


def test_the_palette_of_figures_and_of_the_page_is_one():
    css = Path(report.__file__).with_name("page.css").read_text("utf-8")
    light = dict(re.findall(r"--([\w-]+): (#\w+)", re.findall(r":root \{(.*?)\n\}", css, re.DOTALL)[0]))
    assert list(plots.SERIES) == [light[f"s{number}"] for number in range(len(plots.SERIES))]
    assert [plots.INK, plots.MUTED, plots.LINE] == [light["ink"], light["muted"], light["line"]]


def exam_of(**right):
    return ExamResult(
        exam_sha256="", contestants=tuple(right), share_taught=None,
        scores=tuple(ExamScore(row="held_out", contestant=name, right=n, n=40) for name, n in right.items()),
    )  # fmt: skip


def test_accuracy_draws_each_share_with_its_interval():
    result = exam_of(base=3, expert=30)
    lines = result.plot().axes[0].lines
    drawn = [tuple(line.get_xdata()) for line in lines]
    expected = []
    for score in result.scores:
        low, high = score.interval
        expected += [(100 * low, 100 * high), (100 * score.share,)]
    assert expected == drawn


def test_cost_meets_where_the_expert_has_paid_for_itself():
    money = reports.economics(("expert", "base + RAG"))
    (axes,) = attrs.evolve(exam_of(), economics=money).plot("cost").axes
    lines = [line for line in axes.lines if len(line.get_xdata()) > 2]
    costs = [money.by_volume[name] for name in ("expert", "base + RAG")]
    for line, (fixed, each) in zip(lines, costs, strict=True):
        volumes, dollars = line.get_data()
        assert [fixed + each * volume for volume in volumes] == list(dollars)
    (crossing,) = [line for line in axes.lines if line.get_marker() == "o"]
    volume, dollars = (float(values[0]) for values in crossing.get_data())
    assert money.break_even == volume
    assert [pytest.approx(dollars, rel=1e-3)] * 2 == [fixed + each * volume for fixed, each in costs]


def test_nothing_is_drawn_of_one_cost_alone():
    one = Economics(
        costs=(ContestantCost(contestant="expert", usd_per_1000=1.0), ContestantCost(contestant="base")), making_usd=1.0
    )
    for money in (one, None):
        with pytest.raises(InputError, match="nothing to compare"):
            attrs.evolve(exam_of(), economics=money).plot("cost")


@pytest.mark.parametrize(
    "name", ["$x^2$", "$\\frac{", "_hidden", "肺保護換気", "<script>", "a\u202eb", "a\x00b", "two\nlines", "x" * 300]
)
def test_a_contestant_may_be_called_anything(name):
    """Not a formula, nothing hidden, no warning for letters that a font lacks."""
    shown = name.replace("\u202e", "[U+202E]").replace("\x00", "[U+0000]").replace("\n", " ")
    result = exam_of(expert=3, **{name: 4})
    result = attrs.evolve(result, economics=reports.economics(("expert", name)))
    for plot in (result.plot(), result.plot("rows"), result.plot("cost")):
        drawn = pages.read(plots.svg(plot, prefix="a-")).all("text")
        assert any(each.text[:8] == shown[:8] for each in drawn)


def test_an_svg_has_no_style_of_its_own():
    drawn = plots.svg(exam_of(base=1, expert=2).plot(), prefix="one-")
    assert not re.search("style|font-family|#[0-9a-f]{6}|xlink|<metadata", drawn)
    assert all(each.startswith("one-") for each in re.findall(r'id="(.*?)"', drawn))


def test_a_figure_shows_itself_in_a_notebook():
    assert "<svg" in exam_of(base=1, expert=2).plot()._repr_svg_()


def test_loss_is_drawn_with_and_without_validation():
    log = [{"step": n, "loss": 1 / n} for n in range(1, 2001)]
    (axes,) = plots.loss(log).axes
    (line,) = axes.lines
    assert (2000, True) == (line.get_xdata()[-1], len(line.get_xdata()) <= 500)
    _, lower = plots.loss([*log, {"step": 2001, "loss": 0.1, "validation": 0.5}]).axes
    assert [50] == list(lower.lines[0].get_ydata())


MODELS = [f"http://gpu-server-7.wards.example.org:8000/v1#{name}" for name in ("Qwen2.5-7B-Instruct", "Qwen2.5-14B")]


def test_models_of_one_address_stay_apart_beside_a_plot():
    """A label that is cut at its end would be the same for both."""
    result = exam_of(**dict.fromkeys(MODELS, 4))
    for plot in (result.plot(), result.plot("rows")):
        shown = [each.text for each in pages.read(plots.svg(plot, prefix="a-")).all("text")]
        labels = [text for text in shown if "Qwen" in text]
        assert 2 == len({*labels})
        assert all(len(label) <= plots.LABEL for label in labels)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("expert", "expert"),
        (MODELS[0], "Qwen2.5-7B-Instru…org:8000"),
        ("http://localhost:8000/v1#qwen", "qwen @ localhost:8000"),
        ("http://[bad/v1#qwen-and-a-long-name", "http://[bad/v1#qw…ong-name"),
        ("a reader of thirty characters B", "a reader of thirt…acters B"),
    ],
)
def test_a_long_name_keeps_what_tells_it_from_others(name, shown):
    assert legible.short(name, 26) == shown


def test_a_plot_that_there_is_not_is_named():
    with pytest.raises(InputError, match="what='loss': there is a plot of 'accuracy', 'rows' or 'cost'"):
        exam_of(expert=3).plot("loss")

"""What came of an exam: every answer, and what is counted and concluded from them."""

import html
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

import attrs

from text2expert.errors import InputError, MissingExtraError
from text2expert.examiner.grading import Grade as Grade  # noqa: PLC0414 - whoever reads results gets it here
from text2expert.examiner.grid import WIDTH, grid
from text2expert.legible import percent, short, visible
from text2expert.records import ROW_TITLES, UNSEEN_ROWS, ExamRowName, wilson

if TYPE_CHECKING:
    from text2expert.plots import Plot

BASE, EXPERT, RAG, ORACLE, EXPERT_RAG = "base", "expert", "base + RAG", "base + right passage", "expert + RAG"
LOOKUP, READER = "lookup", "RAG, no model"
"""Names of the contestants that every exam may have; other names are a user's own."""

COLUMNS = (BASE, EXPERT, RAG, ORACLE, EXPERT_RAG, LOOKUP, READER)
"""Their order; contestants of other names follow in theirs."""

NEED_EXPERT = (EXPERT, EXPERT_RAG)
"""Contestants that would not be there without the expert, and pay for its making."""

ALL_UNSEEN = "all unseen questions"
"""Title of the row over all of them."""


NO_PRICE = "no price for this computer's time"
"""What a note of `Economics` says where a sum is what was paid, and no more."""


@attrs.frozen(kw_only=True)
class GivenAnswer:
    """What one contestant answered to one question; a line of ``exam_answers.jsonl``."""

    question: str
    """The question's id."""
    contestant: str
    text: str
    grade: Grade
    """Without a judge."""
    judged: Grade | None = None
    """By the LLM judge, where one was asked."""
    confidence: float | None = None
    """Geometric mean of the probabilities of its tokens, 0 to 1; None where the contestant tells none."""
    seconds: float | None = None
    """That the answer took when asked alone (batch of one); None where it was not measured so."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    passages: tuple[str, ...] = ()
    """Ids of the chunks that the contestant was shown."""


@attrs.frozen(kw_only=True)
class Comparison:
    """Two contestants on the same questions (paired): who was right where the other was not.

    ``p`` is the exact two-sided McNemar test; ``difference`` is *one* minus *other* (-1 to 1), with a 95 % bootstrap
    interval over facts.
    """

    row: str
    """A row of the exam, or ``all`` (rows that ask for what the document says)."""
    one: str
    other: str
    n: int
    only_one: int
    only_other: int
    p: float
    difference: float
    interval: tuple[float, float]
    discordant_facts: int | None = None
    """Facts on which one of the two is ahead; None: not counted."""


@attrs.frozen(kw_only=True)
class Group:
    """How many of a group's ``n`` questions a contestant answered right."""

    by: Literal["document", "section", "difficulty", "hops", "unknown_to_base"]
    name: str
    contestant: str
    right: int
    n: int


@attrs.frozen(kw_only=True)
class Refusals:
    """Of a contestant: refused where the document does not answer (right), and where it does (wrong)."""

    contestant: str
    right: int
    unanswerable: int
    wrong: int
    answerable: int


@attrs.frozen(kw_only=True)
class ContestantCost:
    """What a contestant's answers take. A value that was not measured is None, and ``assumed`` says what was assumed."""

    contestant: str
    seconds_p50: float | None = None
    seconds_p95: float | None = None
    tokens_in: float | None = None
    """Mean per question."""
    tokens_out: float | None = None
    usd_per_1000: float | None = None
    """Dollars per 1,000 questions, at the price of the GPU's time or of the API."""
    measured: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Economics:
    """Money and time of the contestants, and when the expert has paid for itself."""

    costs: tuple[ContestantCost, ...] = ()
    making_usd: float | None = None
    """What the expert cost to make: teaching, judging, training."""
    against: str | None = None
    """The contestant that the expert is compared with: the best one that reads passages."""
    break_even: float | None = None
    """Questions after which the expert has cost less than `against`; None: never, or unknown (``notes`` say which)."""
    notes: tuple[str, ...] = ()

    @property
    def by_volume(self) -> dict[str, tuple[float, float]]:
        """Contestant -> what it costs before the first question and with each, in US dollars, where both are known.

        The expert first, and what it is compared with next. Who does not need the expert does not pay for its making.
        """
        order = [EXPERT, self.against or ""]
        costs = sorted(
            self.costs, key=lambda cost: order.index(cost.contestant) if cost.contestant in order else len(order)
        )
        return {
            cost.contestant: (
                (self.making_usd or 0.0) if cost.contestant in NEED_EXPERT else 0.0,
                cost.usd_per_1000 / 1000,
            )
            for cost in costs
            if cost.usd_per_1000 and not (cost.contestant in NEED_EXPERT and self.making_usd is None)
        }


@attrs.frozen(kw_only=True)
class Recommendation:
    """The verdict on the expert, in words."""

    use: Literal["expert", "rag", "both", "neither"]
    """``neither``: do not fine-tune, and RAG is not good enough either."""
    headline: str
    """One sentence."""
    because: tuple[str, ...] = ()
    next: tuple[str, ...] = ()
    """What to do next."""
    failed: tuple[str, ...] = ()
    """Ids of the chunks of which the expert gets half of the unseen questions wrong, or more; most wrong answers first."""


@attrs.frozen(kw_only=True)
class Probe:
    """A test of the judge with answers whose grade is known: how many of those asked it graded so."""

    name: Literal["gold", "hedge", "other_answer", "one_digit"]
    passed: int
    asked: int


@attrs.frozen(kw_only=True)
class Dropped:
    """Questions left out of the exam because training had them too."""

    reason: Literal["same_text", "jaccard", "eight_grams"]
    n: int


@attrs.frozen(kw_only=True)
class JudgeReport:
    """How far the LLM judge can be trusted, and how it differs from the mechanical grade."""

    model: str
    judged: int
    agree: int
    judge_right_only: int
    judge_wrong_only: int
    probes: tuple[Probe, ...] = ()
    usd: float = 0.0
    unjudged: int = 0
    """Answers that were put to it, or would have been, and have no grade of it."""
    why: str = ""
    """Why the first of them has none."""


@attrs.frozen(kw_only=True)
class ExamScore:
    """How many of the ``n`` questions of a row a contestant answered right.

    Raises:
        InputError: ``n`` is 0, or less than ``right``: no share comes of it.
    """

    row: ExamRowName
    contestant: str
    right: int
    n: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.right <= self.n or self.n < 1:
            msg = f"{self.right} right of {self.n} ({self.contestant}, {self.row}): there must be a question, and no more right than asked"
            raise InputError(msg)

    @property
    def share(self) -> float:
        """Of right answers, 0 to 1."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        return wilson(self.right, self.n)


@attrs.frozen(kw_only=True)
class Unseen:
    """How many a contestant answered right of the ``n`` unseen questions that it was asked.

    Unseen are those that the document answers and that were not trained on, of all rows (`statistics.is_unseen`). Page, plot,
    tables and verdict count these and no others.
    """

    contestant: str
    right: int
    n: int

    @property
    def share(self) -> float:
        """Of right answers, 0 to 1."""
        return self.right / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        return wilson(self.right, self.n)


@attrs.frozen(kw_only=True, repr=False)
class ExamResult:
    """The exam table: every contestant on every row, and the share of the document that was taught (0 to 1)."""

    exam_sha256: str
    """Of the questions that were asked."""
    contestants: tuple[str, ...]
    scores: tuple[ExamScore, ...]
    share_taught: float | None
    """None where the text is not there to measure it by."""
    notes: tuple[str, ...] = ()
    """What a reader must know to judge the numbers."""
    dropped: tuple[Dropped, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    groups: tuple[Group, ...] = ()
    refusals: tuple[Refusals, ...] = ()
    economics: Economics | None = None
    judge: JudgeReport | None = None
    recommendation: Recommendation | None = None
    frozen_sha256: str | None = None
    """Of the exam as it was frozen before training; another one than `exam_sha256` where questions were added or changed."""
    unseen: tuple[Unseen, ...] = ()
    """Of each contestant that was asked one."""

    def score(self, row: ExamRowName, contestant: str) -> ExamScore | None:
        """A cell of the table; None where *contestant* was asked nothing of that row, or the exam has no such question.

        Raises:
            InputError: There is no such row, or no such contestant in this exam.
        """
        for what, name, known in (("row", row, ROW_TITLES), ("contestant", contestant, self.contestants)):
            if name not in known:
                msg = f"{what}={name!r}: this exam has no such {what}; it has {', '.join(map(repr, known)) or 'none'}"
                raise InputError(msg)
        return self._score(row, contestant)

    def _score(self, row: ExamRowName, contestant: str) -> ExamScore | None:
        return next((each for each in self.scores if (each.row, each.contestant) == (row, contestant)), None)

    @property
    def short_names(self) -> dict[str, str]:
        """What each contestant is called in a table: of a server's model the part after the ``#``, unless two are.

        Nothing in it moves a terminal's cursor, and of a long name the middle goes.
        """
        bare = {name: short(_bare(name), LONGEST_NAME) for name in self.contestants}
        taken = [*bare.values(), *(name for name in COLUMNS if name not in bare)]
        return {name: shown if taken.count(shown) == 1 else visible(name) for name, shown in bare.items()}

    def lines(self, width: int = WIDTH) -> list[str]:
        """The table of all rows and contestants, as lines of a terminal that is so many columns wide."""
        unseen = {name: one for name in self.contestants if (one := self.of_unseen(name))}
        by_row = {
            title: {name: score for name in self.contestants if (score := self._score(row, name))}
            for row, title in ROW_TITLES.items()
        }
        return grid(self.short_names, {ALL_UNSEEN: unseen, **by_row}, width=width)

    def __str__(self) -> str:
        """Verdict and table; a run shows costs and notes too."""
        headline = [] if self.recommendation is None else [textwrap.fill(self.recommendation.headline, WIDTH), ""]
        return "\n".join([*headline, *self.lines()])

    __repr__ = __str__

    def of_unseen(self, contestant: str) -> Unseen | None:
        """What *contestant* got right of all unseen questions; None where it was asked none.

        Of a result that was stored without these counts, its rows without the questions that the document does not answer.
        """
        if self.unseen:
            return next((each for each in self.unseen if each.contestant == contestant), None)
        scores = [score for row in UNSEEN_ROWS if (score := self._score(row, contestant))]
        silent = next((each for each in self.refusals if each.contestant == contestant), None)
        made = self._score("unanswerable", contestant)  # the others are in a hand-written exam
        n = sum(each.n for each in scores) - (silent.unanswerable - (made.n if made else 0) if silent else 0)
        right = sum(each.right for each in scores) - (silent.right - (made.right if made else 0) if silent else 0)
        return Unseen(contestant=contestant, right=right, n=n) if n > 0 else None

    def plot(self, what: Literal["accuracy", "rows", "cost"] = "accuracy") -> "Plot":
        """The exam as a figure, which a notebook shows and its ``savefig`` writes to a file.

        Args:
            what: ``accuracy``: who is right on how much of the unseen questions. ``rows``: the same by kind of question.
                ``cost``: US dollars against the number of questions, with the break-even.

        Raises:
            InputError: There is no such plot, or nothing to draw in it: the cost of fewer than two contestants is known.
            MissingExtraError: matplotlib is not installed.
        """
        from text2expert import plots  # noqa: PLC0415 - half a second, and an extra that may be missing

        if what == "accuracy":
            found = {name: (one.right, one.n) for name in self.contestants if (one := self.of_unseen(name))}
            return plots.accuracy(found, strong=EXPERT)
        if what == "rows":
            return plots.rows(
                self.by_row(sorted(self.contestants, key=lambda name: name != EXPERT))
            )  # in its own colour
        if what != "cost":
            msg = f"what={what!r}: there is a plot of 'accuracy', 'rows' or 'cost'"
            raise InputError(msg)
        money = self.economics or Economics()
        if len(money.by_volume) < 2:
            msg = "what='cost': the cost of an answer is known of fewer than two contestants, so there is nothing to compare"
            raise InputError(msg)
        return plots.cost(money.by_volume, break_even=money.break_even, against=money.against)

    def by_row(self, contestants: Iterable[str]) -> dict[str, dict[str, tuple[int, int]]]:
        """Title of a row -> contestant -> how many it got right and how many it was asked; rows without any are left out."""
        names = list(contestants)
        found = {
            title: {name: (cell.right, cell.n) for name in names if (cell := self._score(row, name))}
            for row, title in ROW_TITLES.items()
        }
        return {title: cells for title, cells in found.items() if cells}

    def _repr_html_(self) -> str:
        """Verdict, plot and tables in a notebook."""
        lines = []
        if self.recommendation is not None:
            said = self.recommendation
            lines.append(f'<p style="font-size:1.15em;max-width:50em"><strong>{_text(said.headline)}</strong></p>')
            for summary, points in (("Why", said.because), ("What to do next", said.next)):
                if points:
                    lines.append(
                        f'<details style="max-width:50em"><summary>{summary}</summary>{_bullets(points)}</details>'
                    )
        lines += [self._html_plot(), self._html_scores()]
        if self.economics is not None and any(cost.usd_per_1000 is not None for cost in self.economics.costs):
            lines.append(_html_costs(self.economics))
        if self.notes:
            lines.append(
                f'<details style="max-width:50em"><summary>What to know of these figures</summary>{_bullets(self.notes)}</details>'
            )
        return "".join(lines)

    def _html_plot(self) -> str:
        """As an image of its own, so that nothing of it meets another cell's; nothing without matplotlib."""
        if not any(self.of_unseen(name) for name in self.contestants):
            return ""
        try:
            return self.plot().as_image("Right answers to unseen questions, in per cent, with 95 % intervals")
        except MissingExtraError:
            return ""

    def _html_scores(self) -> str:
        found = {name: one for name in self.contestants if (one := self.of_unseen(name))}
        rows = (
            [(f"<strong>{ALL_UNSEEN}</strong>", {name: (one.right, one.n) for name, one in found.items()})]
            if found
            else []
        )
        rows += [(_text(title), cells) for title, cells in self.by_row(self.contestants).items()]
        lines = [
            f"<tr>{_cell('', 'th')}{''.join(_cell(_text(name), 'th') for name in self.short_names.values())}{_cell('questions', 'th')}</tr>"
        ]
        for title, cells in rows:
            shown = "".join(_html_cell(cells.get(name)) for name in self.contestants)
            most = max(n for _, n in cells.values())
            lines.append(f"<tr>{_cell(title, 'th', 'left')}{shown}{_cell(f'{most:,}')}</tr>")
        return f"<table><caption>Right answers, with 95&nbsp;% intervals</caption>{''.join(lines)}</table>"


def _text(value: str) -> str:
    return html.escape(visible(value))


LONGEST_NAME = 36
"""Characters of a contestant's name in a table: four lines of a narrow column."""


def _bare(name: str) -> str:
    """``http://host/v1#model + RAG`` is ``model + RAG``."""
    _, mark, model = name.partition("#")
    return model if mark and name.startswith(("http://", "https://")) and model.partition(" + ")[0].strip() else name


def _bullets(points: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{_text(each)}</li>' for each in points)}</ul>"


def _cell(shown: str, tag: str = "td", align: str = "right") -> str:
    return f'<{tag} style="text-align:{align}">{shown}</{tag}>'


def _html_cell(cell: tuple[int, int] | None) -> str:
    if cell is None:
        return _cell("–")
    right, n = cell
    low, high = wilson(right, n)
    return _cell(
        f'<span title="{right:,} of {n:,}">{percent(right / n)}</span> <small>{100 * low:.0f}–{100 * high:.0f}</small>'
    )


def _html_costs(economics: Economics) -> str:
    rows = [
        f"<tr>{_cell(_text(each.contestant), 'th', 'left')}{_cell('–' if each.seconds_p50 is None else f'{each.seconds_p50:.2g}')}"
        f"{_cell('–' if each.usd_per_1000 is None else f'{each.usd_per_1000:.4f}')}</tr>"
        for each in economics.costs
    ]
    head = f"<tr>{_cell('', 'th')}{_cell('seconds, median', 'th')}{_cell('$ per 1,000', 'th')}</tr>"
    return f"<table><caption>What an answer takes</caption>{head}{''.join(rows)}</table>"

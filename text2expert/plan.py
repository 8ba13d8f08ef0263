"""Plan and preview: what a run would do, take and cost, before it does it."""

import html
import math
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from text2expert.records import Chunk, Document, QAPair, Quote, Status, Verdict
from text2expert.trainer import Trainer, TrainingPlan

if TYPE_CHECKING:
    from text2expert.llm import Estimate

WIDTH = 80
"""Columns that a plan and a preview are written for."""


class Steps(Protocol):
    """What plans and receipts need to know of a pipeline."""

    @property
    def chunker(self) -> Any: ...  # noqa: D102
    @property
    def teacher(self) -> Any: ...  # noqa: D102
    @property
    def verifier(self) -> Any: ...  # noqa: D102
    @property
    def trainer(self) -> Trainer: ...  # noqa: D102
    @property
    def examiner(self) -> Any: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def budget(self) -> Decimal | float | None: ...  # noqa: D102
    @property
    def include_unverified(self) -> bool: ...  # noqa: D102
    @property
    def questions_per_chunk(self) -> int | None: ...  # noqa: D102
    @property
    def questions(self) -> int:
        """Asked of the teacher for each chunk."""
        ...

    @property
    def status(self) -> Status:
        """Of an approved pair."""
        ...


@attrs.frozen(kw_only=True)
class StepPlan:
    """What a paid step would take to cover everything."""

    step: str
    model: str
    estimate: "Estimate"
    budget: float | None = None
    """US dollars that the step may spend; None: as much as the run's budget leaves."""
    measured: bool = False
    """Whether it is extrapolated from replies that are there already, and not from what is usual."""

    def reach(self, budget: float | None) -> tuple[float, float]:
        """The share of the work, 0 to 1, that *budget* pays for: at the dearest and at the cheapest."""
        if budget is None:
            return 1.0, 1.0
        low, high = float(self.estimate.usd_low), float(self.estimate.usd_high)
        return min(1.0, budget / high) if high else 1.0, min(1.0, budget / low) if low else 1.0

    def __str__(self) -> str:
        estimate = self.estimate
        low, high = estimate.output_tokens
        cost = dollars(float(estimate.usd_low), float(estimate.usd_high))
        basis = " (by the replies so far)" if self.measured else ""
        said = (
            f"{estimate.calls:,} calls of {self.model}, {estimate.input_tokens:,} tokens in, {low:,} to {high:,} out: "
            f"{cost}{basis}"
        )
        least, most = self.reach(self.budget)
        if self.budget is not None and least < 1:
            said += f"; its budget of ${self.budget:,.2f} reaches {_percent(least, most)} of the text"
        return said


@attrs.frozen(kw_only=True)
class RentPlan:
    """What a machine would cost on which the training is paid for."""

    quote: Quote | None
    """None: it could not be asked for."""
    problem: str = ""
    """Why not."""
    budget: float | None = None
    """US dollars that it may cost; None: as much as the run's budget leaves."""

    @property
    def usd(self) -> float:
        """US dollars that are expected; 0 where nobody could be asked."""
        return 0.0 if self.quote is None else self.quote.usd

    @property
    def least(self) -> float:
        """US dollars without which nothing is rented: what giving the machine back may take is kept back from the start."""
        return self.usd if self.quote is None or self.quote.least is None else self.quote.least

    @property
    def most(self) -> float:
        """US dollars at most; infinite where nothing is known to limit it."""
        quoted = float("inf") if self.quote is None else max(self.quote.usd, self.quote.most or 0.0)
        return min(quoted, float("inf") if self.budget is None else self.budget)

    @property
    def short(self) -> str:
        """What is said where the budget is below what it is rented with."""
        return (
            f"the machine is expected to cost ${self.usd:,.2f}, it is not rented with less than ${self.least:,.2f}, and its "
            f"budget is ${self.most:,.2f}"
        )

    def __str__(self) -> str:
        capped = "" if self.budget is None else f", with a budget of ${self.budget:,.2f}"
        if self.quote is None:
            return f"could not be asked for ({self.problem}){capped}"
        most = f", ${self.most:,.2f} at most" if self.most > self.usd else ""
        return f"about ${self.usd:,.2f} for about {duration(self.quote.seconds)}{capped}{most}"


@attrs.frozen(kw_only=True)
class DocumentPlan:
    """What one of several documents takes until the golden dataset is there."""

    document: str
    n_chars: int
    chunks: int
    items: int
    """Questions, each in its wordings."""
    pairs: int
    """To train on; about as many where they are not taught yet."""
    tokens: int = 0
    """That paid models read and write of it, about."""
    usd_low: float = 0.0
    usd_high: float = 0.0


BEFORE_TRAINING = ("teacher", "verifier")
"""Paid steps of a run that stops before it trains."""

SEEN = "the golden dataset, the text, the exam's questions without their answers, and the expert"
"""What lies on the machine that trains."""


@attrs.frozen(kw_only=True)
class Plan:
    """What a run would do, before it does it."""

    documents: tuple[Document, ...]
    n_chars: int
    chunks: int
    by_document: tuple[DocumentPlan, ...] = ()
    """Where there are several; what is planned beside them, exam and training, is of all together."""
    items: int | None = None
    """Questions, each in its wordings; None where they are not told apart."""
    pairs: int
    """Training pairs; counted where the whole text was taught for the plan, else scaled up or asked for. Without those
    that the verifier's sample leaves out."""
    estimated: bool
    training: TrainingPlan | None
    trains: bool = True
    """False: it stops when the golden dataset is there."""
    steps: tuple[StepPlan, ...] = ()
    """The paid steps."""
    rent: RentPlan | None = None
    """Of the machine that trains, where one is paid for."""
    machine: str = ""
    """The machine that trains, where it is not this one."""
    holds: str = SEEN
    """What lies there while it trains."""
    unknown: tuple[str, ...] = ()
    """Steps of somebody's own that do not say (by ``estimate``) what they cost and where they send the text."""
    budget: float | None = None
    """US dollars that the run may spend in all."""
    seconds: float
    """As far as it is known: 0 for the training of a base whose hardware decides."""
    folder: str

    @property
    def without_training(self) -> "Plan":
        """The same, stopped when the golden dataset is there."""
        steps = tuple(step for step in self.steps if step.step in BEFORE_TRAINING)
        quote = self.rent.quote if self.rent is not None else None
        left_out = sum(step.estimate.seconds for step in self.steps if step.step not in BEFORE_TRAINING) + (
            quote.seconds if quote is not None else (self.training and self.training.seconds) or 0.0
        )
        return attrs.evolve(
            self,
            steps=steps,
            rent=None,
            machine="",
            training=None,
            trains=False,
            seconds=max(self.seconds - left_out, 0.0),
        )

    @property
    def usd_low(self) -> float:
        """US dollars for the whole text, at the cheapest."""
        return sum(float(step.estimate.usd_low) for step in self.steps) + self._rent

    @property
    def usd_high(self) -> float:
        """US dollars for the whole text, at the dearest; of a machine what is expected."""
        return self._steps + self._rent

    @property
    def most(self) -> float:
        """US dollars that the run may spend at most: its estimate, or its budgets where they are less.

        Infinite where a machine is paid for, nobody could be asked what it costs, and no budget limits it.
        """
        rent = 0.0 if self.rent is None else self.rent.most
        return min(self._capped + rent, self.budget if self.budget is not None else float("inf"))

    @property
    def _steps(self) -> float:
        return sum(float(step.estimate.usd_high) for step in self.steps)

    @property
    def _capped(self) -> float:
        """Of the steps, as far as their own budgets go."""
        return sum(
            min(float(step.estimate.usd_high), step.budget if step.budget is not None else float("inf"))
            for step in self.steps
        )

    @property
    def _rent(self) -> float:
        return 0.0 if self.rent is None else self.rent.usd

    @property
    def _is_cut(self) -> bool:
        """Whether the budgets may end teaching or judging before the whole text is covered."""
        return min(self._capped, self.budget if self.budget is not None else float("inf")) < self._steps

    @property
    def hosts(self) -> tuple[str, ...]:
        """Who will see the text, as far as it is known; empty, with nothing `unknown`: it stays on this machine."""
        named = [step.estimate.host for step in self.steps]
        return tuple(dict.fromkeys(host for host in (*named, self.machine) if host))

    @property
    def advice(self) -> tuple[str, ...]:
        """What to consider before it starts."""
        said = []
        for step in self.steps:
            least, _ = step.reach(step.budget)
            if least < 1 and step.step in BEFORE_TRAINING:
                smaller = ", judge a smaller sample (--sample)" if step.step == "verifier" else ""
                said.append(
                    f"the whole text needs up to ${float(step.estimate.usd_high):,.2f} for the {step.step}: raise its "
                    f"budget (--{step.step}-budget){smaller}, or let it cover the densest passages, spread over the text"
                )
        if self.budget is not None and self.usd_high > self.budget:
            said.append(
                f"the run's budget of ${self.budget:,.2f} (--budget) may end it before the text is covered "
                f"(up to ${self.usd_high:,.2f})"
            )
        if self.rent is not None and self.rent.most < self.rent.least:
            said.append(f"{self.rent.short}: raise it (--train-budget)")
        if self.machine:
            said.append(f"what {self.machine} holds, its owner could read: {self.holds}")
        if self.training is not None:
            said += self.training.notes if self.training.embedded else (*self.training.starved, *self.training.notes)
        if self._is_cut:
            said.append("calls, questions, pairs, training and time above are those of the whole text")
        if self.steps and not any(step.measured for step in self.steps):
            said.append(
                "`text2expert preview` teaches three passages for a few cents; the plan then goes by what they took"
            )
        return tuple(said)

    def __str__(self) -> str:
        about = "about " if self.estimated else ""
        quoted = self.rent is not None and self.rent.quote is not None
        known = self.training is None or self.training.seconds is not None or quoted
        most = f" for the whole text; the budgets allow ${self.most:,.2f}" if self._is_cut else ""
        if self.rent is not None and not most:
            most = ", and nothing limits the rent" if math.isinf(self.most) else f", ${self.most:,.2f} at most"
        training = "none: it stops when the golden dataset is there"
        if self.trains:
            training = str(self.training) if self.training else "unknown before the pairs are there"
        renting = " and what the machine costs" if self.rent is not None and not quoted else ""
        cost = (
            [f"{dollars(self.usd_low, self.usd_high)}{renting}{most}"]
            if self.steps or self.rent or not self.unknown
            else []
        )
        cost += [f"whatever {name} costs" for name in self.unknown]
        hosts = [*self.hosts, *(f"wherever {name} sends it" for name in self.unknown)]
        rows = [
            ("text", f"{self.n_chars:,} characters in {len(self.documents):,} document(s)"),
            ("chunks", f"{self.chunks:,}"),
            *((step.step, str(step)) for step in self.steps),
            *([] if self.items is None else [("questions", f"{self.items:,}")]),
            ("training pairs", f"{about}{self.pairs:,}"),
            ("training", training),
            *([] if self.rent is None else [("machine", f"{self.machine}: {self.rent}")]),
            ("cost", "; ".join(cost)),
            ("time", f"about {duration(self.seconds)}{_as_on_a_gpu(self)}" if known else "depends on your hardware"),
            ("your text goes to", ", ".join(hosts) or "nobody: it stays on this machine"),
            ("run folder", self.folder),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [_wrapped(f"{name:<{width}}  ", value) for name, value in rows]
        return "\n".join([*lines, *self._documents(), *(_wrapped("Note: ", f"{each}.") for each in self.advice)])

    def _documents(self) -> Iterator[str]:
        """A line for each of several documents, and one for all."""
        if not self.by_document:
            return
        paid = any(each.tokens for each in self.by_document)
        head = ["characters", "chunks", "questions", "pairs", *(["tokens", "cost"] if paid else [])]
        rows = [
            [
                each.document,
                *(f"{n:,}" for n in (each.n_chars, each.chunks, each.items, each.pairs)),
                *([f"{each.tokens:,}", dollars(each.usd_low, each.usd_high)] if paid else []),
            ]
            for each in self.by_document
        ]
        sums = [
            sum(getattr(each, name) for each in self.by_document) for name in ("n_chars", "chunks", "items", "pairs")
        ]
        total = ["together", *(f"{n:,}" for n in sums)]
        if paid:
            low, high = (sum(getattr(each, name) for each in self.by_document) for name in ("usd_low", "usd_high"))
            total += [f"{sum(each.tokens for each in self.by_document):,}", dollars(low, high)]
        table = [["by document", *head], *rows, total]
        widths = [max(len(row[place]) for row in table) for place in range(len(table[0]))]
        yield ""
        for first, *rest in table:
            shown = (f"{cell:>{width}}" for cell, width in zip(rest, widths[1:], strict=True))
            yield "  ".join([f"{first:<{widths[0]}}", *shown])
        yield ""

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


@attrs.frozen(kw_only=True)
class Shown:
    """A passage and what was taught about it."""

    chunk: Chunk
    pairs: tuple[QAPair, ...]


@attrs.frozen(kw_only=True)
class Preview:
    """A few passages taught and judged, beside them their pairs; and the plan that follows from it."""

    passages: tuple[Shown, ...]
    verdicts: tuple[Verdict, ...]
    plan: Plan
    problem: str = ""
    """Why some passage was not taught: a budget that ended, a provider that failed; empty where nothing went wrong."""

    def __str__(self) -> str:
        lines = []
        for shown in self.passages:
            lines += [f"== {_title(shown)} ==", "", *(_wrapped("", line) for line in shown.chunk.text.split("\n")), ""]
            lines += [_wrapped(lead, text) for lead, text in self._said(shown)]
            lines.append("")
        if self.problem:
            lines.append(_wrapped("Not all was taught: ", self.problem))
        return "\n".join([*lines, str(self.plan)])

    def _repr_html_(self) -> str:
        cell = '<td style="text-align: left; vertical-align: top; white-space: pre-wrap; width: 50%">'
        rows = [
            f"<tr>{cell}<b>{html.escape(_title(shown))}</b>\n\n{html.escape(shown.chunk.text)}</td>"
            f"{cell}{html.escape(chr(10).join(lead + text for lead, text in self._said(shown)))}</td></tr>"
            for shown in self.passages
        ]
        problem = f"<p>Not all was taught: {html.escape(self.problem)}</p>" if self.problem else ""
        return f"<table>{''.join(rows)}</table>{problem}{self.plan._repr_html_()}"

    def _said(self, shown: Shown) -> Iterator[tuple[str, str]]:
        """What stands beside a passage, line by line, each with what leads it in."""
        verdicts = {each.qa_id: each for each in self.verdicts}
        first: dict[str, bool] = {}
        for pair in shown.pairs:
            verdict = verdicts.get(pair.qa_id)
            rejected = verdict is not None and not verdict.approved
            item = pair.item or pair.qa_id
            if item in first:
                yield "     or: ", pair.question + (" [this wording: REJECTED]" if rejected and not first[item] else "")
                continue
            first[item] = rejected
            yield "  Q: ", pair.question
            yield "  A: ", pair.answer
            mark = "not judged" if verdict is None else f"REJECTED ({verdict.reason})" if rejected else "approved"
            yield "     ", f"{pair.difficulty}, {mark}"
        if not shown.pairs:
            yield "  ", "nothing was taught here"


def _as_on_a_gpu(plan: Plan) -> str:
    """Training of a real base is known for one card alone, unless a machine was found."""
    if plan.rent is not None and plan.rent.quote is not None:
        return ", training on that machine"
    real = plan.training is not None and not plan.training.embedded and plan.training.seconds is not None
    return ", training as on that card" if real else ""


def _title(shown: Shown) -> str:
    return " > ".join(shown.chunk.headings) or shown.chunk.document


def _wrapped(lead: str, text: str) -> str:
    """*lead* and *text* in lines of `WIDTH`, the later ones under the first; short text stays as it is, a table say."""
    if len(lead) + len(text) <= WIDTH:
        return lead + text
    return textwrap.fill(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def dollars(low: float, high: float) -> str:
    """A range of US dollars as a person says it: "$0.75 to $1.49", "$0.00"."""
    return f"${low:,.2f} to ${high:,.2f}" if f"{low:.2f}" != f"{high:.2f}" else f"${high:,.2f}"


def duration(seconds: float) -> str:
    """*seconds* as a person says it: "40 s", "3 min 20 s", "2 h 5 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _percent(low: float, high: float) -> str:
    one, other = f"{100 * low:.0f}", f"{100 * high:.0f}"
    return f"{one} %" if one == other else f"{one} to {other} %"

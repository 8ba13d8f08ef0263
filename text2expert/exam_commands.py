"""``text2expert exam``, ``report`` and ``ask``: what a finished run knows, shown and asked."""

import io
import shutil
import sys
import textwrap
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from text2expert.errors import AuthenticationFailed, InputError
from text2expert.flags import THERE

if TYPE_CHECKING:
    from text2expert.expert import Expert
    from text2expert.llm import LLM
    from text2expert.records import Answer
    from text2expert.run import Run

_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_SHOWN = 400
"""Characters of a sentence or table row that are shown under an answer."""


@click.command()
@_FOLDER
@click.option("--exam", "questions", metavar="FILE", help="Your own questions (JSONL), added to the run's exam.")
@click.option(
    "--contestant",
    "models",
    multiple=True,
    metavar="MODEL",
    help="A model that answers too, closed-book; may be given again.",
)
@click.option("--rag", "readers", multiple=True, metavar="MODEL", help="The same with the passages that are found.")
@click.option(
    "--judge",
    metavar="MODEL",
    help="A model that grades beside the mechanical grade; of another family than the teacher.",
)
@click.option(
    "--price",
    "prices",
    multiple=True,
    metavar="[MODEL=]IN,OUT",
    help="USD per million tokens of prompts and of replies, where they are not known here; 0,0 for a server of your own. "
    "Of which of several models: MODEL as it is given above.",
)
@click.option(
    "--key-env",
    "keys",
    multiple=True,
    metavar="[MODEL=]VARIABLE",
    help="Environment variable that holds the key, for a server that is neither its provider's own nor this machine.",
)
@click.option("--budget", type=float, metavar="USD", help="Most that examining may ever cost in this run folder.")
@click.option("-k", "k", type=int, metavar="N", help="Passages that readers are shown.  [default: as in the run]")
@click.option("--usd-per-hour", type=float, metavar="USD", help="What an hour of the machine costs that answers.")
@click.option("--questions-per-month", type=float, metavar="N", help="How much will be asked.")
@click.option("--updates-per-year", type=float, metavar="N", help="How often the text changes.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before models are paid for.")
def exam(
    folder: Path, questions: str | None, models: tuple[str, ...], readers: tuple[str, ...], judge: str | None,
    prices: tuple[str, ...], keys: tuple[str, ...], yes: bool, **settings: Any,
) -> None:  # fmt: skip
    """Show the verdict on the run in FOLDER, and who knew what; with options, examine it again first.

    What was answered is kept and graded anew; nothing is paid for twice. The exit code is 1 where a model that was named
    gave nothing at all.
    """
    from text2expert.examiner import summary
    from text2expert.run import Run

    run = Run.load(folder)
    given = {name: value for name, value in settings.items() if value is not None}
    silent: list[str] = []
    llms = _llms([*models, *readers, *([judge] if judge else [])], prices, keys)
    if questions or llms or given:
        contestants, judging = _contestants(models, readers, llms), llms[judge] if judge else None
        if llms and not yes and sys.stdin.isatty():
            click.echo("\n".join(_costs(run, contestants, judging)))
            click.confirm("Start?", abort=True)
        try:
            run.examine(exam=questions, contestants=contestants, judge=judging, **given)
        except (InputError, AuthenticationFailed) as error:
            raise type(error)(_by_flags(str(error))) from error
        silent = _silent(run, contestants, judge)
    if run.exam is None:
        raise InputError(f"{folder} has no exam: it was run with --no-fine-tune; run it again without")
    click.echo(summary(run.exam, _width()))
    if (folder / "report.html").is_file():
        click.echo(f"Every question, answer and plot: {folder / 'report.html'}")
    if silent:
        click.echo(f"text2expert: {', '.join(silent)} gave nothing (see above); all else is kept", err=True)
        sys.exit(1)


def _width() -> int:
    """Columns of the terminal, as far as tables can use them; where there is none, the most."""
    return min(100, max(80, shutil.get_terminal_size((100, 24)).columns))


def _silent(run: "Run", contestants: dict[str, Any], judge: str | None) -> list[str]:
    """Those who were asked for and are not in the exam."""
    assert run.exam is not None
    named = [name for name in contestants if name not in run.exam.contestants]
    judged = judge is None or (run.exam.judge is not None and run.exam.judge.model == judge and run.exam.judge.judged)
    return named if judged else [*named, f"the judge {judge}"]


def _llms(names: list[str], prices: tuple[str, ...], keys: tuple[str, ...]) -> "dict[str, LLM]":
    """The models that were named, with their prices and keys."""
    from text2expert.flags import key_in, price_in
    from text2expert.llm import LLM

    names = list(dict.fromkeys(names))
    price_of = {name: price_in("--price", value) for name, value in _of_models("--price", prices, names).items()}
    key_of = {name: key_in("--key-env", value) for name, value in _of_models("--key-env", keys, names).items()}
    try:
        return {name: LLM(name, price=price_of.get(name), api_key=key_of.get(name)) for name in names}
    except InputError as error:
        raise InputError(_by_flags(str(error))) from error


def _of_models(flag: str, values: tuple[str, ...], names: list[str]) -> dict[str, str]:
    """Model -> what *flag* says of it: ``MODEL=VALUE``, or the value alone where one model is named."""
    found: dict[str, str] = {}
    for value in values:
        name, mark, own = value.rpartition("=")
        if not mark and len(names) == 1:
            name = names[0]
        if name not in names:
            known = ", ".join(names) or "none: name one with --contestant, --rag or --judge"
            # What is given for a variable may be a key by mistake, and must not be found in a log.
            shown = f" {value}" if flag == "--price" else ""
            said = "no such model is named" if mark else "say of which model, MODEL=..."
            raise InputError(f"{flag}{shown}: {said}; named are {known}")
        found[name] = own
    return found


_FLAGS = {
    "api_key=": "--key-env [MODEL=]VARIABLE",
    "price=": "--price [MODEL=]IN,OUT",
    "usd_per_hour=": "--usd-per-hour USD",
    "questions_per_month=": "--questions-per-month N",
    "updates_per_year=": "--updates-per-year N",
}
"""Arguments that messages name, and what this command calls them."""


def _by_flags(message: str) -> str:
    flags = [flag for argument, flag in _FLAGS.items() if argument in message]
    return f"{message}{THERE}{', '.join(flags)}" if flags and THERE not in message else message


def _contestants(models: tuple[str, ...], readers: tuple[str, ...], llms: "dict[str, LLM]") -> dict[str, Any]:
    from text2expert.examiner import ModelContestant, OpenBook

    return {
        **{name: ModelContestant(llms[name]) for name in models},
        **{f"{name} + RAG": OpenBook(llms[name]) for name in readers},
    }


def _costs(run: "Run", contestants: dict[str, Any], judge: "LLM | None") -> Iterator[str]:
    """What models would take, at the dearest, by the size of the exam."""
    from text2expert.examination import estimates
    from text2expert.examiner import Examiner
    from text2expert.plan import dollars

    for name, estimate in estimates(Examiner(contestants=contestants, judge=judge), run.folder).items():
        cost = dollars(float(estimate.usd_low), float(estimate.usd_high))
        yield f"{name}: {estimate.calls:,} calls, {cost}; {estimate.host or 'this machine'} sees questions and passages"


@click.command()
@_FOLDER
@click.option("--open", "shown", is_flag=True, help="Open it in the browser.")
def report(folder: Path, *, shown: bool) -> None:
    """Write report.html of the run in FOLDER anew: one page with the verdict, the money and every answer."""
    from text2expert.run import Run

    path = Run.load(folder).report()
    click.echo(str(path))
    if shown:
        webbrowser.open(path.resolve().as_uri())


@click.command()
@_FOLDER
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
@click.option(
    "--min-confidence", type=float, metavar="SHARE", help="Answers less sure than this (0 to 1) are withheld."
)
@click.option("--verbose", "-v", is_flag=True, help="Show the whole passages that support an answer.")
def ask(folder: Path, questions: tuple[str, ...], min_confidence: float | None, *, verbose: bool) -> None:
    """Ask the expert in FOLDER; without a question, lines from standard input (Ctrl-D ends).

    Answers go to standard output; how sure they are, and the sentences of the text that support them, to standard error.

    The confidence is the geometric mean of the probabilities of the answer's tokens, 0 to 1. It is no chance to be right: beside
    it stands how many of the exam's answers about as sure were right, where the run has an exam.
    """
    from text2expert.expert import Expert

    with Expert.load(folder, min_confidence) as expert:
        if questions:
            for answer in expert.ask_many(questions):
                say(expert, answer, whole=verbose)
            return
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # what is not UTF-8 is refused by the expert, by name
        talks = sys.stdin.isatty()
        while True:
            try:
                question = input("> " if talks else "").strip()
            except EOFError:
                return
            if not question:
                continue
            try:
                say(expert, expert.ask(question), whole=verbose)
            except InputError as error:
                if not talks:
                    raise
                click.echo(f"text2expert: {error}", err=True)  # a chat goes on


def say(expert: "Expert", answer: "Answer", *, whole: bool) -> None:
    """Show *answer*, how sure it is, and the sentences that hold it up or, if *whole*, their passages."""
    click.echo(answer.text)
    facts = [f"confidence {answer.confidence or 0:.2f}", *filter(None, [answer.worth]), f"{answer.seconds or 0:.2f} s"]
    if answer.withheld:
        facts.append(f"withheld: {answer.withheld}")
    if answer.supported is False:
        facts.append("UNSUPPORTED: a number of it stands in no passage")
    click.secho(f"  ({'; '.join(facts)})", dim=True, err=True)
    for chunk in expert.passages(answer):
        click.secho(f"  {chunk.id}, {' > '.join(chunk.headings) or chunk.document}:", dim=True, err=True)
        if whole:
            click.secho(textwrap.indent(chunk.text, "    "), dim=True, err=True)
            continue
        inside = [
            each
            for each in answer.evidence
            if each.document == chunk.document and chunk.start <= each.start < chunk.end
        ]
        for each in inside:
            click.secho(
                textwrap.indent(textwrap.shorten(each.text, _SHOWN, placeholder=" …"), "    "), dim=True, err=True
            )

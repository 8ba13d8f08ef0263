"""The command line: ``text2expert plan | preview | run | exam | report | ask | merge | export | vast | doctor``.

What it does, the library does; it only talks.
"""

import math
import sys
from pathlib import Path
from typing import Any

import attrs
import click
from click.core import ParameterSource

from text2expert import __version__
from text2expert.errors import InputError, Text2ExpertError
from text2expert.exam_commands import ask, exam, report
from text2expert.flags import (
    BEFORE_GOLD,
    EXAM,
    PRECISIONS,
    REASONINGS,
    REST,
    SHORT_ANSWERS,
    TEXT,
    TRAINING,
    Sectioned,
    by_flags,
    check_keys,
    option,
    pipeline_of,
    sources_of,
    with_settings,
)
from text2expert.vast_commands import vast

ASK_FIRST_SECONDS = 30 * 60
"""A run that will keep this machine busy longer than that, or that costs money, starts after a yes."""


class _Commands(click.Group):
    """Turns the package's own errors into one clear line and exit code 1, and Ctrl-C into a way to go on."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with its whole first sentence, over two lines where it needs them; click would cut it."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(limit=200)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Text2ExpertError as error:
            click.echo(f"text2expert: {by_flags(str(error))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\ntext2expert: stopped; the same command again goes on from here", err=True)
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="text2expert")
def main() -> None:
    """Turn a reference text into a small model that knows it closed-book, and see whether it does."""


for _command in (ask, exam, report, vast):
    main.add_command(_command)


@main.command(cls=Sectioned)
@with_settings
@option(TRAINING, "--no-fine-tune", is_flag=True, help="Of a run that stops when the golden dataset is there.")
def plan(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, no_fine_tune: bool, **settings: Any) -> None:
    """Say what a run would do, take and cost, and who would see the text. Sends and writes nothing."""
    coming = pipeline_of(**settings).plan(sources_of(inputs, more), out=out)
    click.echo(str(coming.without_training if no_fine_tune else coming))


@main.command(cls=Sectioned)
@with_settings
@option(TEXT, "-n", "n", type=int, default=3, show_default=True, metavar="N", help="Passages to teach.")
def preview(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, n: int, **settings: Any) -> None:
    """Teach and judge a few passages for a few cents, and show the pairs beside them; `run` does not pay again."""
    pipeline, source = pipeline_of(**settings), sources_of(inputs, more)
    check_keys(pipeline)
    if not settings["batch"]:
        click.echo(str(pipeline.preview(source, n=n, out=out)))
        return
    # Nobody waits an hour for three passages: they are asked for at once, and the plan is for batches.
    shown = pipeline_of(**{**settings, "batch": False}).preview(source, n=n, out=out)
    click.echo(str(attrs.evolve(shown, plan=pipeline.plan(source, out=out))))


@main.command(cls=Sectioned)
@with_settings
@option(
    TRAINING, "--gold", metavar="FILE", help="Train on this golden dataset (merged, edited by hand) instead of a text."
)
@option(
    EXAM, "--exam", "questions", metavar="FILE", help="Your own exam questions (JSONL), asked beside the run's own."
)
@option(TRAINING, "--no-fine-tune", is_flag=True, help="Stop when the golden dataset is there.")
@option(REST, "--yes", "-y", is_flag=True, help="Do not ask before a run that is long or costs money.")
@click.pass_context
def run(
    ctx: click.Context, /, inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, gold: str | None,
    questions: str | None, no_fine_tune: bool, yes: bool, **settings: Any,
) -> None:  # fmt: skip
    """Make an expert of texts, or of a golden dataset. Stopped at any moment, the same command goes on."""
    if gold is not None and (idle := _given(ctx, BEFORE_GOLD) or [*more]):
        raise InputError(
            f"--gold trains on a dataset that is there already, without teaching: leave out {', '.join(idle)}, or --gold"
        )
    pipeline = pipeline_of(**settings)
    source = None if gold is not None else sources_of(inputs, more)
    ask_first = not yes and sys.stdin.isatty()
    if source is not None:
        _before(pipeline, source, out, ask=ask_first, trains=not no_fine_tune)
    elif ask_first and not no_fine_tune:
        _before_training(pipeline.trainer, str(gold))
    pipeline.run(source, gold=gold, out=out, exam=questions, fine_tune=not no_fine_tune)


@main.command()
@click.argument("sources", nargs=-1, required=True, metavar="DIR...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The merged dataset, e.g. combined.jsonl.",
)
def merge(sources: tuple[str, ...], out: Path) -> None:
    """Merge the golden datasets of run folders (or JSONL files); train on it with `run --gold`."""
    from text2expert import golden  # noqa: PLC0415 - each command loads what it needs

    click.echo(str(golden.merge([Path(source) for source in sources], out)))


_FORMATS = ("llamafactory", "trl", "openai", "alpaca", "model")
"""As `text2expert.exports` has them, and the expert itself."""


_EXPORT = [
    click.option("--to", required=True, type=click.Choice(_FORMATS), help="What it is for; model merges the expert in DIR into a full model."),
    click.option("--out", required=True, type=click.Path(path_type=Path), metavar="DIR", help="Folder to write."),
    click.option("--base", metavar="MODEL", help="Hugging Face id or folder of the model to train.  [default for llamafactory: Qwen/Qwen2.5-7B-Instruct]"),
    click.option("--revision", metavar="REV", help="Commit, tag or branch of the base."),
    click.option("--template", metavar="NAME", help="LLaMA-Factory's name for the base's chat template, or own.  [default: by the base]"),
    click.option("--system", metavar="TEXT", help="A system prompt for every row."),
    click.option("--reasoning", type=click.Choice(REASONINGS), help="Whether the reasoning is trained, and where.  [default: none]"),
    click.option("--short-answer", type=click.Choice(SHORT_ANSWERS), help="Whether the short answer is trained, and where.  [default: first]"),
    click.option("--precision", type=click.Choice(PRECISIONS), help="What the base is held in.  [default: auto, which is nf4 here]"),
    click.option("--epochs", type=float, metavar="N", help="Times the dataset is trained."),
    click.option("--learning-rate", type=float, metavar="N", help="The peak of a cosine."),
    click.option("--batch-size", type=int, metavar="N", help="Rows in an optimiser step."),
    click.option("--max-steps", type=int, metavar="N", help="Optimiser steps at most."),
    click.option("--seed", type=int, metavar="N", help="Of the training."),
]  # fmt: skip


def _export(command: Any) -> Any:
    command = click.argument("source", type=click.Path(path_type=Path), metavar="DIR_OR_FILE")(command)
    for each in reversed(_EXPORT):
        command = each(command)
    return command


@main.command()
@_export
def export(source: Path, to: str, out: Path, **flags: Any) -> None:
    """Write the golden dataset in DIR_OR_FILE for training elsewhere, with a configuration where the tool takes one."""
    given = {name: value for name, value in flags.items() if value is not None}
    if to == "model":
        if given:
            raise InputError(f"--to model merges what was trained: leave out --{next(iter(given)).replace('_', '-')}")
        from text2expert.expert import Expert  # noqa: PLC0415 - each command loads what it needs

        with Expert.load(source) as expert:
            click.echo(str(expert.merge(out)))
        return
    from text2expert import exports  # noqa: PLC0415 - each command loads what it needs
    from text2expert.golden.dataset import locate  # noqa: PLC0415
    from text2expert.trainer import CLOUD_BASE, materials  # noqa: PLC0415

    if to == "llamafactory":
        given.setdefault("base", CLOUD_BASE)
    training = exports.Training(**{name: given.pop(name) for name in _OF_TRAINING if name in given})
    gold = locate(source)
    texts = materials.text_rows(materials.beside(gold))
    click.echo(str(exports.write(gold, out, to, texts=texts, training=training, **given)))  # type: ignore[arg-type]  # click has checked the format


_OF_TRAINING = ("precision", "epochs", "learning_rate", "batch_size", "max_steps", "seed")


@main.command()
def doctor() -> None:
    """Say what is installed, which keys are set, which GPU is there, and what is missing for what."""
    from text2expert import doctor as checks  # noqa: PLC0415 - each command loads what it needs

    click.echo(checks.report())


def _given(ctx: click.Context, sections: tuple[str, ...]) -> list[str]:
    """The options of these *sections* that were written on the command line."""
    return [
        parameter.opts[0]
        for parameter in ctx.command.get_params(ctx)
        if getattr(parameter, "section", None) in sections
        and ctx.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
    ]


def _before(pipeline: Any, source: list[str | Path], out: Path | None, *, ask: bool, trains: bool) -> None:
    """What a run is told before it writes anything: that a GPU or a key is missing, or that somebody does not want it after all."""
    from text2expert.runfolder import PAIRS  # noqa: PLC0415 - each command loads what it needs

    if trains:
        pipeline.trainer.check()
    paid = any(hasattr(step, "llm") for step in (pipeline.teacher, pipeline.verifier)) or (
        trains and bool(pipeline.examiner.llms)
    )
    if not paid and not (ask and trains):
        return
    from text2expert import _sync, planning  # noqa: PLC0415

    coming = pipeline.plan(source, out=out)
    if not trains:
        coming = coming.without_training
    # Where pairs are there, nothing may be left to ask; the pipeline looks for a key when something is.
    if paid and not (Path(coming.folder) / PAIRS).exists():
        check_keys(pipeline, exam=trains)
        if trains and ask:  # else the run itself looks, before it pays anything
            _sync.run(planning.check_rent(pipeline.trainer, coming.rent))
    if ask and (coming.most > 0 or (trains and coming.seconds > ASK_FIRST_SECONDS)):
        click.echo(str(coming))
        click.confirm(_start(coming.most), abort=True)


def _before_training(trainer: Any, gold: str) -> None:
    """What a run on a dataset is told before a machine is paid for; on this one it starts."""
    from text2expert import _sync, planning  # noqa: PLC0415 - each command loads what it needs

    trainer.check()
    training = trainer.plan(gold)
    rent = _sync.run(planning.rent_plan(trainer, training))
    if rent is not None:
        click.echo(f"training  {training}\nmachine   {planning.machine_of(trainer)}: {rent}")
        click.confirm(_start(rent.most), abort=True)


def _start(most: float) -> str:
    if math.isinf(most):
        return "Start, although nothing limits what the machine may cost (--train-budget)?"
    return f"Start, for at most ${most:,.2f}?" if most > 0 else "Start?"

"""The command line: ``text2expert plan | preview | run | ask | merge | doctor``. What it does, the library does; it only talks."""

import io
import os
import sys
from pathlib import Path
from typing import Any

import click

from text2expert import __version__
from text2expert.errors import InputError, Text2ExpertError

ASK_FIRST_SECONDS = 30 * 60
"""A run that will keep this machine busy longer than that, or that costs money, starts after a yes."""


class _Commands(click.Group):
    """Turns the package's own errors into one clear line and exit code 1, and Ctrl-C into a way to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Text2ExpertError as error:
            click.echo(f"text2expert: {error}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\ntext2expert: stopped; the same command again goes on from here", err=True)
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="text2expert")
def main() -> None:
    """Turn a reference text into a small model that knows it closed-book, and see whether it does."""


def _inputs(command: Any) -> Any:
    command = click.argument("more", nargs=-1, metavar="[FILE]...")(command)
    return click.option(
        "--input", "-i", "inputs", multiple=True, metavar="FILE...",
        help="Text files or folders; several make one expert of all.",
    )(command)  # fmt: skip


def _settings(command: Any) -> Any:
    for option in reversed([
        click.option("--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: expert_model_<first input>]"),
        click.option("--chunk-size", type=int, default=800, show_default=True, help="Characters of a chunk at most."),
        click.option("--chunk-overlap", type=int, default=100, show_default=True, help="Characters that neighbours share, about."),
        click.option("--questions-per-chunk", type=int, metavar="N", help="Questions asked of each chunk at most.  [default: the teacher's own]"),
        click.option("--preset", type=click.Choice(["offline", "cloud"]), default="offline", show_default=True, help="cloud: DeepSeek teaches, Claude verifies."),
        click.option("--teacher", metavar="NAME", help="deepseek/deepseek-flash, anthropic/..., http://localhost:8000/v1#model, or offline.  [default: by the preset]"),
        click.option("--verifier", metavar="NAME", help="The same for the verifier; none takes every pair as it comes."),
        click.option("--teacher-url", metavar="URL", help="Where the teacher answers, instead of its provider's own host."),
        click.option("--verifier-url", metavar="URL", help="Where the verifier answers."),
        click.option("--teacher-key-env", metavar="VARIABLE", help="Environment variable whose key may go to --teacher-url."),
        click.option("--verifier-key-env", metavar="VARIABLE", help="Environment variable whose key may go to --verifier-url."),
        click.option("--teacher-budget", type=float, metavar="USD", help="Most that teaching may ever cost in this run folder."),
        click.option("--verifier-budget", type=float, metavar="USD", help="Most that verifying may ever cost there."),
        click.option("--budget", type=float, metavar="USD", help="Most that everything may ever cost there."),
        click.option("--sample", type=float, metavar="SHARE", help="Share of the questions that the verifier judges, 0 to 1.  [default: 1]"),
        click.option("--include-unverified", is_flag=True, help="Train also on pairs that were not judged."),
        click.option("--batch", is_flag=True, help="Half price, within 24 hours: Anthropic's Message Batches."),
        click.option("--base", metavar="MODEL", help="Hugging Face id or folder of the model to train.  [default: a toy made from the text]"),
        click.option("--epochs", type=float, metavar="N", help="Times the dataset is trained.  [default: by the base]"),
        click.option("--max-steps", type=int, metavar="N", help="Optimiser steps at most."),
        click.option("--seed", type=int, default=0, show_default=True, help="Decides every draw."),
    ]):  # fmt: skip
        command = option(command)
    return command


@main.command()
@_inputs
@_settings
def plan(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, **settings: Any) -> None:
    """Say what a run would do, take and cost, and who would see the text. Writes nothing."""
    click.echo(str(_pipeline(**settings).plan(_sources(inputs, more), out=out)))


@main.command()
@_inputs
@_settings
@click.option("-n", "n", type=int, default=3, show_default=True, metavar="N", help="Passages to teach.")
def preview(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, n: int, **settings: Any) -> None:
    """Teach and judge a few passages for about a cent, and show the pairs beside them; `run` does not pay again."""
    click.echo(str(_pipeline(**settings).preview(_sources(inputs, more), n=n, out=out)))


@main.command()
@_inputs
@_settings
@click.option(
    "--gold", metavar="FILE", help="Train on this golden dataset (merged, or edited by hand) instead of a text."
)
@click.option("--exam", metavar="FILE", help="Your own exam questions (JSONL), asked beside the run's own.")
@click.option("--no-fine-tune", is_flag=True, help="Stop when the golden dataset is there.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before a run that is long or costs money.")
def run(
    inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, gold: str | None, exam: str | None,
    no_fine_tune: bool, yes: bool, **settings: Any,
) -> None:  # fmt: skip
    """Make an expert of texts, or of a golden dataset. Stopped at any moment, the same command goes on."""
    pipeline = _pipeline(**settings)
    if gold is not None and (inputs or more):
        raise InputError("--gold trains on a dataset that is there already; leave out --input, or leave out --gold")
    source = None if gold is not None else _sources(inputs, more)
    if source is not None and not yes and not no_fine_tune and sys.stdin.isatty():
        coming = pipeline.plan(source, out=out)
        if coming.usd_high > 0 or coming.seconds > ASK_FIRST_SECONDS:
            click.echo(str(coming))
            click.confirm("Start?", abort=True)
    pipeline.run(source, gold=gold, out=out, exam=exam, fine_tune=not no_fine_tune)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("questions", nargs=-1, metavar="[QUESTION]...")
def ask(folder: Path, questions: tuple[str, ...]) -> None:
    """Ask the expert in FOLDER; without a question, lines from standard input (Ctrl-D ends)."""
    from text2expert.expert import Expert  # noqa: PLC0415 - each command loads what it needs

    with Expert.load(folder) as expert:
        if questions:
            for answer in expert.ask_many(questions):
                click.echo(answer.text)
            return
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # what is not UTF-8 is refused by the expert, by name
        prompt = "> " if sys.stdin.isatty() else ""
        while True:
            try:
                question = input(prompt).strip()
            except EOFError:
                return
            if question:
                click.echo(expert.ask(question).text)


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


@main.command()
def doctor() -> None:
    """Say what is installed, which keys are set, which GPU is there, and what is missing for what."""
    from text2expert import doctor as checks  # noqa: PLC0415 - each command loads what it needs

    click.echo(checks.report())


def _sources(inputs: tuple[str, ...], more: tuple[str, ...]) -> list[str | Path]:
    if not inputs and not more:
        raise InputError("no input: give text files, e.g. text2expert run --input protocol.txt")
    return [*inputs, *more]


def _pipeline(
    *, chunk_size: int, chunk_overlap: int, questions_per_chunk: int | None, base: str | None, epochs: float | None,
    max_steps: int | None, seed: int, budget: float | None, include_unverified: bool, **steps: Any,
) -> Any:  # fmt: skip
    from text2expert.chunker import Chunker  # noqa: PLC0415 - each command loads what it needs
    from text2expert.pipeline import Pipeline  # noqa: PLC0415
    from text2expert.trainer import Trainer  # noqa: PLC0415

    return Pipeline(
        chunker=Chunker(size=chunk_size, overlap=chunk_overlap),
        trainer=Trainer(base, epochs=epochs, max_steps=max_steps, seed=seed),
        questions_per_chunk=questions_per_chunk,
        budget=budget,
        include_unverified=include_unverified,
        seed=seed,
        **_steps(seed=seed, **steps),
    )


def _steps(*, preset: str, seed: int, sample: float | None, batch: bool, **flags: Any) -> dict[str, Any]:
    """Teacher and verifier as far as the flags say; the pipeline's defaults for the rest."""
    made: dict[str, Any] = {}
    cloud = preset == "cloud"
    teacher, verifier = (flags[role] or (None if cloud else "offline") for role in ("teacher", "verifier"))
    if teacher != "offline":
        from text2expert.teacher import Teacher  # noqa: PLC0415 - each command loads what it needs

        model = _llm("teacher", teacher or Teacher().llm.name, flags, batch=batch and str(teacher).startswith("anthropic/"))
        made["teacher"] = Teacher(model, budget=flags["teacher_budget"])
    else:
        _unused("teacher", flags)
    if verifier == "none":
        made["verifier"] = None
    elif verifier != "offline":
        from text2expert.verifier import Verifier  # noqa: PLC0415 - each command loads what it needs

        model = _llm("verifier", verifier or Verifier().llm.name, flags, batch=batch)
        made["verifier"] = Verifier(
            model, budget=flags["verifier_budget"], sample=1.0 if sample is None else sample, seed=seed
        )
    if verifier in {"none", "offline"}:
        _unused("verifier", {**flags, "sample": sample, "batch": batch or None})
    return made


def _llm(role: str, name: str, flags: dict[str, Any], *, batch: bool) -> Any:
    from text2expert.llm import LLM  # noqa: PLC0415 - each command loads what it needs

    key = None
    if variable := flags[f"{role}_key_env"]:
        key = os.environ.get(variable)
        if not key:
            raise InputError(f"--{role}-key-env: the environment variable {variable} is not set: export it first")
    return LLM(name, base_url=flags[f"{role}_url"], api_key=key, batch=batch)


def _unused(role: str, flags: dict[str, Any]) -> None:
    """Flags for a step that is not there are a mistake, not a wish."""
    names = [f"{role}_url", f"{role}_key_env", f"{role}_budget", *(["sample", "batch"] if role == "verifier" else [])]
    for name in names:
        if flags.get(name) is not None:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is for a {role} that is paid for: add --{role} NAME or --preset cloud")

"""The command line: ``text2expert plan | preview | run | ask | merge | export | doctor``.

What it does, the library does; it only talks.
"""

import io
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import click
from click.core import ParameterSource

from text2expert import __version__
from text2expert.errors import AuthenticationFailed, InputError, Text2ExpertError

ASK_FIRST_SECONDS = 30 * 60
"""A run that will keep this machine busy longer than that, or that costs money, starts after a yes."""

_ROLES = ("teacher", "verifier")

_BATCHES = "anthropic/"
"""How the names of models begin that can be asked in batches."""

_FLAGS = {"api_key=": "key-env", "base_url": "url", "price=": "price"}
"""Arguments that messages name, and what the command line calls them after the role."""

_THERE = "; on the command line: "


class _Commands(click.Group):
    """Turns the package's own errors into one clear line and exit code 1, and Ctrl-C into a way to go on."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Text2ExpertError as error:
            click.echo(f"text2expert: {_by_flags(str(error))}", err=True)
            sys.exit(1)
        except KeyboardInterrupt:
            click.echo("\ntext2expert: stopped; the same command again goes on from here", err=True)
            sys.exit(130)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="text2expert")
def main() -> None:
    """Turn a reference text into a small model that knows it closed-book, and see whether it does."""


class _Sectioned(click.Command):
    """A command whose help page has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", _REST), []).append(row)
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)


class _Option(click.Option):
    """An option under a heading of the help page."""

    def __init__(self, *names: Any, section: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.section = section


def _dollars(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value < float("inf"):
        raise InputError(f"{option.opts[0]} {value:g}: must be US dollars from 0 on")
    return value


def _share(_: click.Context, option: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 <= value <= 1:
        raise InputError(f"{option.opts[0]} {value:g}: must be a share from 0 to 1, such as 0.5 for one half")
    return value


def _price(_: click.Context, option: click.Parameter, value: str | None) -> Any:
    if value is None:
        return None
    from text2expert.prices import Price  # noqa: PLC0415 - each command loads what it needs

    sent, comma, answered = value.partition(",")
    if not comma:
        raise InputError(
            f"{option.opts[0]} {value!r}: give two prices, such as 0.30,1.20, or 0,0 for a server of your own"
        )
    return Price(input=sent.strip(), output=answered.strip())


_TEXT, _MODELS, _MONEY, _SERVERS, _TRAINING, _REST = (
    "Text", "Teaching and verifying", "Money", "Servers and keys of your own", "Training", "Options",
)  # fmt: skip
PRECISIONS, REASONINGS, SHORT_ANSWERS, BACKENDS = (
    ("auto", "bf16", "fp32", "nf4"), ("none", "before", "after"), ("none", "first", "last"),
    ("text2expert", "llamafactory"),
)  # fmt: skip
"""As `text2expert.trainer` has them; the help page does not wait for it to load."""

_BEFORE_GOLD = (_TEXT, _MODELS, _MONEY, _SERVERS)
"""What a run on a golden dataset that is there has no use for."""


def _option(section: str, *names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=_Option, section=section, **settings)


_SETTINGS = [
    _option(_TEXT, "--input", "-i", "inputs", multiple=True, metavar="FILE...", help="Text files or folders; several make one expert of all."),
    _option(_TEXT, "--chunk-size", type=int, default=800, show_default=True, metavar="N", help="Characters of a passage at most."),
    _option(_TEXT, "--chunk-overlap", type=int, default=100, show_default=True, metavar="N", help="Characters that neighbours share, about."),
    _option(_MODELS, "--preset", type=click.Choice(["offline", "cloud"]), default="offline", show_default=True, help="offline: no key, no network, no cost; cloud: DeepSeek teaches, Claude verifies, a 7B model is trained."),
    _option(_MODELS, "--teacher", metavar="NAME", help="Instead of the preset's: deepseek/deepseek-flash, anthropic/..., openai/..., http://localhost:8000/v1#<model>, or offline."),
    _option(_MODELS, "--verifier", metavar="NAME", help="The same for the verifier; none takes every pair as it comes."),
    _option(_MODELS, "--questions-per-chunk", type=int, metavar="N", help="Questions asked of each passage at most.  [default: the teacher's own]"),
    _option(_MODELS, "--sample", type=float, metavar="SHARE", callback=_share, help="Share of the questions that is verified, 0 to 1.  [default: 1]"),
    _option(_MODELS, "--include-unverified", is_flag=True, help="Train also on pairs that were not judged, marked as such."),
    _option(_MONEY, "--budget", type=float, metavar="USD", callback=_dollars, help="Most that everything may ever cost in this run folder."),
    _option(_MONEY, "--teacher-budget", type=float, metavar="USD", callback=_dollars, help="Most that teaching may ever cost there."),
    _option(_MONEY, "--verifier-budget", type=float, metavar="USD", callback=_dollars, help="Most that verifying may ever cost there."),
    _option(_MONEY, "--batch", is_flag=True, help="Ask Anthropic's models in batches: half the price, answers within a day."),
    _option(_SERVERS, "--teacher-url", metavar="URL", help="Where the teacher's model answers, instead of its provider's own host."),
    _option(_SERVERS, "--teacher-key-env", metavar="VARIABLE", help="Environment variable that holds the key for the teacher; needed with --teacher-url, unless that leads to this machine."),
    _option(_SERVERS, "--teacher-price", metavar="IN,OUT", callback=_price, help="USD per million tokens of prompts and of replies, where they are not known here; 0,0 for a server of your own."),
    _option(_SERVERS, "--verifier-url", metavar="URL", help="As --teacher-url."),
    _option(_SERVERS, "--verifier-key-env", metavar="VARIABLE", help="As --teacher-key-env."),
    _option(_SERVERS, "--verifier-price", metavar="IN,OUT", callback=_price, help="As --teacher-price."),
    _option(_TRAINING, "--base", metavar="MODEL", help="Hugging Face id or folder of the model to train; none: a toy made from the text.  [default: none; cloud, llamafactory: Qwen/Qwen2.5-7B-Instruct]"),
    _option(_TRAINING, "--revision", metavar="REV", help="Commit, tag or branch of the base."),
    _option(_TRAINING, "--epochs", type=float, metavar="N", help="Times the dataset is trained.  [default: by the base]"),
    _option(_TRAINING, "--max-steps", type=int, metavar="N", help="Optimiser steps at most."),
    _option(_TRAINING, "--precision", type=click.Choice(PRECISIONS), metavar="NAME", help="Of the base: bf16, nf4 (QLoRA), fp32 or auto.  [default: auto, by the card's memory]"),
    _option(_TRAINING, "--reasoning", type=click.Choice(REASONINGS), metavar="WHERE", help="Train the reasoning too: before or after the answer, or none.  [default: none]"),
    _option(_TRAINING, "--text-share", type=float, metavar="SHARE", callback=_share, help="Share of the trained tokens that is the text itself.  [default: 0.2; toy: 0]"),
    _option(_TRAINING, "--replay", metavar="FILE", help="Against forgetting: self (samples that the base writes), a JSONL file, or none.  [default: self; toy: none]"),
    _option(_TRAINING, "--refusals", metavar="SHARE", help="Share of the trained tokens that refuses what the text does not say, or a JSONL file of such.  [default: 0]"),
    _option(_TRAINING, "--processes", type=int, metavar="N", help="GPUs that train together."),
    _option(_TRAINING, "--backend", type=click.Choice(BACKENDS), metavar="NAME", help="What trains: text2expert or llamafactory.  [default: text2expert]"),
    _option(_TRAINING, "--llamafactory", metavar="PATH", help="LLaMA-Factory's command, for --backend llamafactory.  [default: llamafactory-cli]"),
    _option(_TRAINING, "--train-anyway", is_flag=True, help="Train also too little data where that costs money, or a large base without a GPU."),
    _option(_REST, "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: expert_model_<first input>]"),
    _option(_REST, "--seed", type=int, default=0, show_default=True, metavar="N", help="Decides every draw."),
]  # fmt: skip


def _settings(command: Any) -> Any:
    command = click.argument("more", nargs=-1, metavar="[FILE]...")(command)
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


@main.command(cls=_Sectioned)
@_settings
def plan(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, **settings: Any) -> None:
    """Say what a run would do, take and cost, and who would see the text. Sends and writes nothing."""
    click.echo(str(_pipeline(**settings).plan(_sources(inputs, more), out=out)))


@main.command(cls=_Sectioned)
@_settings
@_option(_TEXT, "-n", "n", type=int, default=3, show_default=True, metavar="N", help="Passages to teach.")
def preview(inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, n: int, **settings: Any) -> None:
    """Teach and judge a few passages for a few cents, and show the pairs beside them; `run` does not pay again."""
    pipeline, source = _pipeline(**settings), _sources(inputs, more)
    _check_keys(pipeline)
    if not settings["batch"]:
        click.echo(str(pipeline.preview(source, n=n, out=out)))
        return
    # Nobody waits an hour for three passages: they are asked for at once, and the plan is for batches.
    shown = _pipeline(**{**settings, "batch": False}).preview(source, n=n, out=out)
    click.echo(str(attrs.evolve(shown, plan=pipeline.plan(source, out=out))))


@main.command(cls=_Sectioned)
@_settings
@_option(
    _TRAINING, "--gold", metavar="FILE", help="Train on this golden dataset (merged, edited by hand) instead of a text."
)
@_option(_TRAINING, "--exam", metavar="FILE", help="Your own exam questions (JSONL), asked beside the run's own.")
@_option(_TRAINING, "--no-fine-tune", is_flag=True, help="Stop when the golden dataset is there.")
@_option(_REST, "--yes", "-y", is_flag=True, help="Do not ask before a run that is long or costs money.")
@click.pass_context
def run(
    ctx: click.Context, /, inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, gold: str | None,
    exam: str | None, no_fine_tune: bool, yes: bool, **settings: Any,
) -> None:  # fmt: skip
    """Make an expert of texts, or of a golden dataset. Stopped at any moment, the same command goes on."""
    if gold is not None and (idle := _given(ctx, _BEFORE_GOLD) or [*more]):
        raise InputError(
            f"--gold trains on a dataset that is there already, without teaching: leave out {', '.join(idle)}, or --gold"
        )
    pipeline = _pipeline(**settings)
    source = None if gold is not None else _sources(inputs, more)
    if source is not None:
        _before(pipeline, source, out, ask=not yes and sys.stdin.isatty(), trains=not no_fine_tune)
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
    for option in reversed(_EXPORT):
        command = option(command)
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


def _sources(inputs: tuple[str, ...], more: tuple[str, ...]) -> list[str | Path]:
    if not inputs and not more:
        raise InputError("no input: give text files, e.g. text2expert run --input protocol.txt")
    return [*inputs, *more]


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
    from text2expert.run import PAIRS  # noqa: PLC0415 - each command loads what it needs

    if trains:
        pipeline.trainer.check()
    paid = any(hasattr(step, "llm") for step in (pipeline.teacher, pipeline.verifier))
    if not paid and not (ask and trains):
        return
    coming = pipeline.plan(source, out=out)
    # Where pairs are there, nothing may be left to ask; the pipeline looks for a key when something is.
    if paid and not (Path(coming.folder) / PAIRS).exists():
        _check_keys(pipeline)
    if ask and (coming.most > 0 or (trains and coming.seconds > ASK_FIRST_SECONDS)):
        click.echo(str(coming))
        click.confirm(f"Start, for at most ${coming.most:,.2f}?" if coming.most > 0 else "Start?", abort=True)


def _check_keys(pipeline: Any) -> None:
    for role in _ROLES:
        if (model := getattr(getattr(pipeline, role), "llm", None)) is not None:
            try:
                model.check()
            except AuthenticationFailed as error:
                raise AuthenticationFailed(_by_flags(f"{role}: {error}", role)) from error


def _pipeline(
    *, chunk_size: int, chunk_overlap: int, questions_per_chunk: int | None, seed: int, budget: float | None,
    include_unverified: bool, preset: str, **flags: Any,
) -> Any:  # fmt: skip
    from text2expert.chunker import Chunker  # noqa: PLC0415 - each command loads what it needs
    from text2expert.pipeline import Pipeline  # noqa: PLC0415

    training = {name: flags.pop(name) for name in _TRAINING_FLAGS}
    return Pipeline(
        chunker=Chunker(size=chunk_size, overlap=chunk_overlap),
        trainer=_trainer(cloud=preset == "cloud", seed=seed, **training),
        questions_per_chunk=questions_per_chunk,
        budget=budget,
        include_unverified=include_unverified,
        seed=seed,
        **_steps(seed=seed, preset=preset, **flags),
    )


_TRAINING_FLAGS = (
    "base", "revision", "epochs", "max_steps", "precision", "reasoning", "text_share", "replay", "refusals", "processes",
    "backend", "llamafactory", "train_anyway",
)  # fmt: skip


def _trainer(
    *, cloud: bool, seed: int, base: str | None, replay: str | None, refusals: str | None, processes: int | None,
    backend: str | None, llamafactory: str | None, **flags: Any,
) -> Any:  # fmt: skip
    """The trainer of the flags; those that were not given are the trainer's own defaults."""
    from text2expert.runners.local import Local  # noqa: PLC0415 - each command loads what it needs
    from text2expert.trainer import CLOUD_BASE, Trainer  # noqa: PLC0415

    if base is None and (cloud or backend == "llamafactory"):
        base = CLOUD_BASE
    if llamafactory is not None and backend != "llamafactory":
        raise InputError(
            "--llamafactory is LLaMA-Factory's command: give --backend llamafactory with it, or leave it out"
        )
    given: dict[str, Any] = {
        **flags,
        "replay": False if replay == "none" else replay,
        "refusals": None if refusals is None else _number_or_path(refusals),
        "runner": None if processes is None else Local(processes=processes),
        "backend": backend,
        "llamafactory": llamafactory,
    }
    model = None if base == "none" else base
    return Trainer(model, seed=seed, **{name: value for name, value in given.items() if value is not None})


def _number_or_path(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


def _steps(*, preset: str, seed: int, sample: float | None, batch: bool, **flags: Any) -> dict[str, Any]:
    """Teacher and verifier as far as the flags say; the pipeline's defaults for the rest."""
    of_preset = _cloud() if preset == "cloud" else dict.fromkeys(_ROLES, "offline")
    names = {role: of_preset[role] if flags[role] is None else flags[role] for role in _ROLES}
    if names["teacher"] == "none":
        raise InputError("--teacher none: somebody has to ask; name a model, or offline")
    if batch and not any(name.startswith(_BATCHES) for name in names.values()):
        raise InputError(
            f"--batch is for Anthropic's models, and here the teacher is {names['teacher']} and the verifier "
            f"{names['verifier']}: leave it out, or take one, such as --verifier anthropic/claude-haiku-5-5"
        )
    made: dict[str, Any] = {}
    if names["teacher"] == "offline":
        _unused("teacher", "offline", flags)
    else:
        from text2expert.teacher import Teacher  # noqa: PLC0415 - each command loads what it needs

        made["teacher"] = Teacher(_llm("teacher", names["teacher"], flags, batch=batch), budget=flags["teacher_budget"])
    if names["verifier"] in {"offline", "none"}:
        _unused("verifier", names["verifier"], {**flags, "sample": sample})
        if names["verifier"] == "none":
            made["verifier"] = None
    else:
        from text2expert.verifier import Verifier  # noqa: PLC0415

        made["verifier"] = Verifier(
            _llm("verifier", names["verifier"], flags, batch=batch),
            budget=flags["verifier_budget"], sample=1.0 if sample is None else sample, seed=seed,
        )  # fmt: skip
    return made


def _cloud() -> dict[str, str]:
    from text2expert.teacher import Teacher  # noqa: PLC0415 - each command loads what it needs
    from text2expert.verifier import Verifier  # noqa: PLC0415

    return {"teacher": Teacher().name, "verifier": Verifier().name}


def _llm(role: str, name: str, flags: dict[str, Any], *, batch: bool) -> Any:
    from text2expert.llm import LLM  # noqa: PLC0415 - each command loads what it needs

    variable = flags[f"{role}_key_env"]
    key = None if variable is None else _key(f"--{role}-key-env", variable)
    batch = batch and name.startswith(_BATCHES)
    try:
        return LLM(name, base_url=flags[f"{role}_url"], api_key=key, price=flags[f"{role}_price"], batch=batch)
    except InputError as error:
        raise InputError(_by_flags(f"{role}: {error}", role)) from error


def _key(flag: str, variable: str) -> str:
    if key := os.environ.get(variable, "").strip():
        return key
    # Who gives the key itself instead of the variable's name must not find it in a log.
    if re.fullmatch(r"[A-Z][A-Z0-9_]*", variable):
        raise InputError(f"{flag}: the environment variable {variable} is not set; export it first")
    raise InputError(
        f"{flag} takes the name of an environment variable, such as MY_API_KEY, and there is none of the name that was "
        "given (not shown, in case it is the key itself)"
    )


def _unused(role: str, name: str, flags: dict[str, Any]) -> None:
    """Flags for a step that is not there are a mistake, not a wish."""
    settings = [f"{role}_{setting}" for setting in ("url", "key_env", "price", "budget")]
    for setting in [*settings, *(["sample"] if role == "verifier" else [])]:
        if flags[setting] is not None:
            raise InputError(
                f"--{setting.replace('_', '-')} is for a {role} that is a model, and here it is {name!r}: leave it out, "
                f"or name a model with --{role} (--preset cloud names both)"
            )


def _by_flags(message: str, *roles: str) -> str:
    """*message* with the flags of the arguments that it names."""
    flags = [f"--{role}-{flag}" for argument, flag in _FLAGS.items() if argument in message for role in roles or _ROLES]
    return f"{message}{_THERE}{', '.join(flags)}" if flags and _THERE not in message else message

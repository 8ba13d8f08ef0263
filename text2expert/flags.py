"""The flags of ``plan``, ``preview``, ``run`` and ``vast offers``, and the pipeline that they make."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from text2expert.errors import AuthenticationFailed, InputError

_ROLES = ("teacher", "verifier")

_BATCHES = "anthropic/"
"""How the names of models begin that can be asked in batches."""

_FLAGS = {"api_key=": "key-env", "base_url": "url", "price=": "price"}
"""Arguments that messages name, and what the command line calls them after the role."""

THERE = "; on the command line: "
"""What comes between a message and the flags."""


class Sectioned(click.Command):
    """A command whose help page has its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: D102 - click's own
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (row := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(getattr(parameter, "section", REST), []).append(row)
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
    return None if value is None else price_in(option.opts[0], value)


def price_in(flag: str, value: str) -> Any:
    """The price that *flag* gives, as ``IN,OUT``."""
    from text2expert.prices import Price  # noqa: PLC0415 - each command loads what it needs

    sent, comma, answered = value.partition(",")
    if not comma:
        raise InputError(f"{flag} {value!r}: give two prices, such as 0.30,1.20, or 0,0 for a server of your own")
    try:
        return Price(input=sent.strip(), output=answered.strip())
    except InputError as error:
        raise InputError(f"{flag} {value!r}: {error}") from error


def _weights(_: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, float] | None:
    weights: dict[str, float] = {}
    for value in values:
        document, _equals, number = value.rpartition("=")
        try:
            weights[document] = float(number)
        except ValueError:
            document = ""
        if not document:
            raise InputError(f"{option.opts[0]} {value!r}: give a document and a number, such as handbook.txt=2")
    return weights or None


TEXT, MODELS, MONEY, SERVERS, TRAINING, EXAM, REST = (
    "Text", "Teaching and verifying", "Money", "Servers and keys of your own", "Training", "Exam", "Options",
)  # fmt: skip
PRECISIONS, REASONINGS, SHORT_ANSWERS, BACKENDS = (
    ("auto", "bf16", "fp32", "nf4"), ("none", "before", "after"), ("none", "first", "last"),
    ("text2expert", "llamafactory"),
)  # fmt: skip
BALANCES = ("proportional", "equal")
"""As `text2expert.trainer` has them; the help page does not wait for it to load."""

BEFORE_GOLD = (TEXT, MODELS, MONEY, SERVERS)
"""What a run on a golden dataset that is there has no use for."""


def option(section: str, *names: str, **settings: Any) -> Callable[[Any], Any]:
    """A flag of *names* under the heading *section*; otherwise as `click.option`."""
    return click.option(*names, cls=_Option, section=section, **settings)


_SETTINGS = [
    option(TEXT, "--input", "-i", "inputs", multiple=True, metavar="FILE...", help="Text files or folders; several make one expert of all."),
    option(TEXT, "--chunk-size", type=int, default=800, show_default=True, metavar="N", help="Characters of a passage at most."),
    option(TEXT, "--chunk-overlap", type=int, default=100, show_default=True, metavar="N", help="Characters that neighbours share, about."),
    option(MODELS, "--preset", type=click.Choice(["offline", "cloud"]), default="offline", show_default=True, help="offline: no key, no network, no cost; cloud: DeepSeek teaches, Claude verifies, a 7B model is trained."),
    option(MODELS, "--teacher", metavar="NAME", help="Instead of the preset's: deepseek/deepseek-flash, anthropic/..., openai/..., http://localhost:8000/v1#<model>, or offline."),
    option(MODELS, "--verifier", metavar="NAME", help="The same for the verifier; none takes every pair as it comes."),
    option(MODELS, "--questions-per-chunk", type=int, metavar="N", help="Questions asked of each passage at most.  [default: the teacher's own]"),
    option(MODELS, "--sample", type=float, metavar="SHARE", callback=_share, help="Share of the questions that is verified, 0 to 1.  [default: 1]"),
    option(MODELS, "--include-unverified", is_flag=True, help="Train also on pairs that were not judged, marked as such."),
    option(MONEY, "--budget", type=float, metavar="USD", callback=_dollars, help="Most that everything may ever cost in this run folder."),
    option(MONEY, "--teacher-budget", type=float, metavar="USD", callback=_dollars, help="Most that teaching may ever cost there."),
    option(MONEY, "--verifier-budget", type=float, metavar="USD", callback=_dollars, help="Most that verifying may ever cost there."),
    option(MONEY, "--batch", is_flag=True, help="Ask Anthropic's models in batches: half the price, answers within a day."),
    option(SERVERS, "--teacher-url", metavar="URL", help="Where the teacher's model answers, instead of its provider's own host."),
    option(SERVERS, "--teacher-key-env", metavar="VARIABLE", help="Environment variable that holds the key for the teacher; needed with --teacher-url, unless that leads to this machine."),
    option(SERVERS, "--teacher-price", metavar="IN,OUT", callback=_price, help="USD per million tokens of prompts and of replies, where they are not known here; 0,0 for a server of your own."),
    option(SERVERS, "--verifier-url", metavar="URL", help="As --teacher-url."),
    option(SERVERS, "--verifier-key-env", metavar="VARIABLE", help="As --teacher-key-env."),
    option(SERVERS, "--verifier-price", metavar="IN,OUT", callback=_price, help="As --teacher-price."),
    option(TRAINING, "--base", metavar="MODEL", help="Hugging Face id or folder of the model to train; none: a toy made from the text.  [default: none; cloud, llamafactory: Qwen/Qwen2.5-7B-Instruct]"),
    option(TRAINING, "--revision", metavar="REV", help="Commit, tag or branch of the base."),
    option(TRAINING, "--epochs", type=float, metavar="N", help="Times the dataset is trained.  [default: by the base]"),
    option(TRAINING, "--max-steps", type=int, metavar="N", help="Optimiser steps at most."),
    option(TRAINING, "--precision", type=click.Choice(PRECISIONS), metavar="NAME", help="Of the base: bf16, nf4 (QLoRA), fp32 or auto.  [default: auto, by the card's memory]"),
    option(TRAINING, "--reasoning", type=click.Choice(REASONINGS), metavar="WHERE", help="Train the reasoning too: before or after the answer, or none.  [default: none]"),
    option(TRAINING, "--text-share", type=float, metavar="SHARE", callback=_share, help="Share of the trained tokens that is the text itself.  [default: 0.2; toy: 0]"),
    option(TRAINING, "--replay", metavar="FILE", help="Against forgetting: self (samples that the base writes), a JSONL file, or none.  [default: self; toy: none]"),
    option(TRAINING, "--refusals", metavar="SHARE", help="Share of the trained tokens that refuses what the text does not say, or a JSONL file of such.  [default: 0]"),
    option(TRAINING, "--balance", type=click.Choice(BALANCES), metavar="NAME", help="Between several documents: proportional (every pair once in an epoch) or equal (as many of each document).  [default: proportional]"),
    option(TRAINING, "--weight", "weights", multiple=True, metavar="DOCUMENT=N", callback=_weights, help="Train the pairs of this document N times as often; may be given for several."),
    option(TRAINING, "--runner", metavar="WHERE", help="Where: local, ssh:user@host (a machine of yours), vast or vast:GPU (rented; RTX_4090 unless said).  [default: local; cloud without a GPU here: vast, if VAST_API_KEY is set]"),
    option(TRAINING, "--train-budget", type=float, metavar="USD", callback=_dollars, help="Most that renting may ever cost in this run folder."),
    option(TRAINING, "--max-hours", type=float, metavar="N", help="After which a rented machine is given back whatever it does.  [default: 6]"),
    option(TRAINING, "--max-usd-per-hour", type=float, metavar="USD", help="Dearer machines are not rented."),
    option(TRAINING, "--vast-key-env", metavar="VARIABLE", help="Environment variable that holds the key for Vast.ai.  [default: VAST_API_KEY]"),
    option(TRAINING, "--processes", type=int, metavar="N", help="GPUs that train together."),
    option(TRAINING, "--backend", type=click.Choice(BACKENDS), metavar="NAME", help="What trains: text2expert or llamafactory.  [default: text2expert]"),
    option(TRAINING, "--llamafactory", metavar="PATH", help="LLaMA-Factory's command, for --backend llamafactory.  [default: llamafactory-cli]"),
    option(TRAINING, "--train-anyway", is_flag=True, help="Train also too little data where that costs money, or a large base without a GPU."),
    option(EXAM, "--exam-writer", metavar="NAME", help="A model that writes exam questions apart from the training pairs, or none.  [default: none; cloud: the teacher's]"),
    option(EXAM, "--judge", metavar="NAME", help="A model that grades beside the mechanical grade; best of another family than the teacher.  [default: none]"),
    option(EXAM, "--exam-writer-key-env", metavar="VARIABLE", help="As --teacher-key-env."),
    option(EXAM, "--exam-writer-price", metavar="IN,OUT", callback=_price, help="As --teacher-price."),
    option(EXAM, "--judge-key-env", metavar="VARIABLE", help="As --teacher-key-env."),
    option(EXAM, "--judge-price", metavar="IN,OUT", callback=_price, help="As --teacher-price."),
    option(REST, "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Run folder.  [default: expert_model_<first input>]"),
    option(REST, "--seed", type=int, default=0, show_default=True, metavar="N", help="Decides every draw."),
]  # fmt: skip


def with_settings(command: Any) -> Any:
    """A *command* that takes texts and all the flags of a run."""
    command = click.argument("more", nargs=-1, metavar="[FILE]...")(command)
    for each in reversed(_SETTINGS):
        command = each(command)
    return command


def sources_of(inputs: tuple[str, ...], more: tuple[str, ...]) -> list[str | Path]:
    """All the texts that were named, with ``--input`` or without."""
    if not inputs and not more:
        raise InputError("no input: give text files, e.g. text2expert run --input protocol.txt")
    return [*inputs, *more]


def check_keys(pipeline: Any, *, exam: bool = False) -> None:
    """Names, keys and prices of teacher and verifier, and of the models of the *exam*; what is wrong is said by the flags."""
    models = {role: getattr(getattr(pipeline, role), "llm", None) for role in _ROLES}
    if exam:
        models |= {name.replace(" ", "-"): llm for name, llm in pipeline.examiner.llms.items()}
    for role, model in models.items():
        if model is not None:
            try:
                model.check()
            except AuthenticationFailed as error:
                raise AuthenticationFailed(by_flags(f"{role}: {error}", role)) from error


def pipeline_of(
    *, chunk_size: int, chunk_overlap: int, questions_per_chunk: int | None, seed: int, budget: float | None,
    include_unverified: bool, preset: str, exam_writer: str | None, judge: str | None, **flags: Any,
) -> Any:  # fmt: skip
    """The pipeline of the flags."""
    from text2expert.chunker import Chunker  # noqa: PLC0415 - each command loads what it needs
    from text2expert.pipeline import Pipeline  # noqa: PLC0415

    training = {name: flags.pop(name) for name in _TRAINING_FLAGS}
    of_exam = {name: flags.pop(name) for name in _EXAM_FLAGS}
    steps = _steps(seed=seed, preset=preset, **flags)
    return Pipeline(
        chunker=Chunker(size=chunk_size, overlap=chunk_overlap),
        trainer=trainer_of(cloud=preset == "cloud", seed=seed, **training),
        questions_per_chunk=questions_per_chunk,
        budget=budget,
        include_unverified=include_unverified,
        seed=seed,
        examiner=_examiner(exam_writer, judge, steps.get("teacher") if preset == "cloud" else None, of_exam),
        **steps,
    )


_EXAM_FLAGS = ("exam_writer_key_env", "exam_writer_price", "judge_key_env", "judge_price")


def _examiner(writer: str | None, judge: str | None, teacher: Any, flags: dict[str, Any]) -> Any:
    """The examiner of the flags; *teacher* writes the exam where no other model is named."""
    from text2expert.examiner import Examiner  # noqa: PLC0415 - each command loads what it needs

    given: dict[str, Any] = {}
    for name, model in (("writer", writer), ("judge", judge)):
        role = "exam_writer" if name == "writer" else name
        if model not in (None, "none"):
            given[name] = _llm(role, str(model), {**flags, f"{role}_url": None}, batch=False)
            continue
        for flag in _EXAM_FLAGS:
            if flag.startswith(role) and flags[flag] is not None:
                shown = role.replace("_", "-")
                raise InputError(
                    f"--{flag.replace('_', '-')} is for a model that --{shown} names: name one, or leave it out"
                )
    if writer is None and getattr(teacher, "llm", None) is not None:
        given["writer"] = teacher.llm
    return Examiner(**given)


_TRAINING_FLAGS = (
    "base", "revision", "epochs", "max_steps", "precision", "reasoning", "text_share", "replay", "refusals", "processes",
    "balance", "weights",
    "runner", "train_budget", "max_hours", "max_usd_per_hour", "vast_key_env", "backend", "llamafactory", "train_anyway",
)  # fmt: skip


def trainer_of(
    *, cloud: bool, seed: int, base: str | None, replay: str | None, refusals: str | None, processes: int | None,
    runner: str | None, train_budget: float | None, max_hours: float | None, max_usd_per_hour: float | None,
    vast_key_env: str | None, backend: str | None, llamafactory: str | None, **flags: Any,
) -> Any:  # fmt: skip
    """The trainer of the flags; those that were not given are the trainer's own defaults."""
    from text2expert.trainer import CLOUD_BASE, Trainer  # noqa: PLC0415 - each command loads what it needs

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
        "runner": _runner(
            runner,
            cloud=cloud and base != "none",
            processes=processes,
            budget=train_budget,
            max_hours=max_hours,
            max_usd_per_hour=max_usd_per_hour,
            api_key=None if vast_key_env is None else key_in("--vast-key-env", vast_key_env),
        ),
        "backend": backend,
        "llamafactory": llamafactory,
    }
    model = None if base == "none" else base
    return Trainer(model, seed=seed, **{name: value for name, value in given.items() if value is not None})


def _runner(name: str | None, *, cloud: bool, processes: int | None, **rent: Any) -> Any:
    from text2expert.runners.named import at_hand, named  # noqa: PLC0415 - each command loads what it needs

    if name is None and cloud and processes is None:
        return at_hand(**rent)
    try:
        return named("local" if name is None else name, processes=processes, **rent)
    except InputError as error:
        raise InputError(f"--runner {name or 'local'}: {error}") from error


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

    variable, flag = flags[f"{role}_key_env"], role.replace("_", "-")
    key = None if variable is None else key_in(f"--{flag}-key-env", variable)
    batch = batch and name.startswith(_BATCHES)
    try:
        return LLM(name, base_url=flags[f"{role}_url"], api_key=key, price=flags[f"{role}_price"], batch=batch)
    except InputError as error:
        raise InputError(by_flags(f"{role if role in _ROLES else f'--{flag}'}: {error}", flag)) from error


def key_in(flag: str, variable: str) -> str:
    """The key in the environment *variable* that *flag* names."""
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


def by_flags(message: str, *roles: str) -> str:
    """*message* with the flags of the arguments that it names."""
    owners = ("vast",) if "Vast.ai" in message else roles or _ROLES
    flags = [
        f"--{owner}-{flag}"
        for argument, flag in _FLAGS.items()
        if argument in message
        for owner in owners
        if flag != "url" or owner in _ROLES  # a server of another model is a part of its name
    ]
    return f"{message}{THERE}{', '.join(flags)}" if flags and THERE not in message else message

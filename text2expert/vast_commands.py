"""``text2expert vast offers | sweep``: what renting would cost, and what of ours is rented."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from text2expert import _sync
from text2expert.errors import InputError, RunnerError
from text2expert.flags import REST, TRAINING, Sectioned, key_in, option, pipeline_of, sources_of, with_settings

if TYPE_CHECKING:
    from text2expert.records import Job
    from text2expert.runners.vast import Found, Offer, Vast
    from text2expert.runners.vast.account import Account
    from text2expert.trainer import Trainer, TrainingPlan

_KEY = (
    "Environment variable that holds the key for Vast.ai.  [default: VAST_API_KEY, then the key that Vast's own command "
    "line stored]"
)


_RENT = ("train_budget", "max_hours", "max_usd_per_hour", "vast_key_env")
"""Flags of a run that are for the machine alone."""


@click.group()
def vast() -> None:
    """Rented machines of Vast.ai: what training would cost on them (offers), and what is left over (sweep)."""


@vast.command(cls=Sectioned)
@with_settings
@option(TRAINING, "--gold", metavar="FILE", help="A golden dataset to train on, instead of texts.")
@option(TRAINING, "--gpu", metavar="NAME", help="As Vast calls it, such as RTX_5090.  [default: RTX_4090]")
@option(REST, "--limit", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="Offers to show.")
def offers(
    inputs: tuple[str, ...], more: tuple[str, ...], out: Path | None, gold: str | None, gpu: str | None,
    limit: int, **settings: Any,
) -> None:  # fmt: skip
    """Say what training would cost and take on the best offers, and on a GPU of your own. Rents nothing.

    The flags are those of `run`. Vast.ai is told which machine is looked for, and sees nothing of the text.
    """
    runner, rent = settings.pop("runner") or "vast", {name: settings.pop(name) for name in _RENT}
    kind, _, of_runner = runner.partition(":")
    if kind != "vast":
        raise InputError(f"--runner {runner}: the offers are those of Vast.ai; leave it out, or give --runner vast")
    from text2expert.runners.named import named  # noqa: PLC0415 - each command loads what it needs
    from text2expert.runners.vast import Vast  # noqa: PLC0415

    gpu = gpu or of_runner or "RTX_4090"
    rents = named(
        f"vast:{gpu}", budget=rent["train_budget"], max_hours=rent["max_hours"], max_usd_per_hour=rent["max_usd_per_hour"],
        api_key=None if rent["vast_key_env"] is None else key_in("--vast-key-env", rent["vast_key_env"]),
    )  # fmt: skip
    assert isinstance(rents, Vast)
    settings |= {"runner": "local", **dict.fromkeys(_RENT)}
    pipeline = pipeline_of(**settings)
    trainer, training = pipeline.trainer, _training(pipeline, inputs, more, gold, out)
    click.echo(f"training: {training}")
    click.echo(f"on this machine: {_here(trainer, training)}")
    found = _sync.run(_offers(rents, trainer.quoted(training), limit))
    if found:
        click.echo("\n".join(_table(rents, found)))
    else:
        click.echo(_none(rents, _sync.run(rents.near(trainer.quoted(training)))))


def _training(
    pipeline: Any, inputs: tuple[str, ...], more: tuple[str, ...], gold: str | None, out: Path | None
) -> "TrainingPlan":
    if gold is None:
        coming = pipeline.plan(sources_of(inputs, more), out=out)
        training: TrainingPlan = coming.training
        return training
    if inputs or more:
        raise InputError(f"--gold is what would be trained on: leave out {', '.join([*inputs, *more])}, or --gold")
    of_gold: TrainingPlan = pipeline.trainer.plan(gold)
    return of_gold


def _here(trainer: "Trainer", training: "TrainingPlan") -> str:
    """The same on local hardware, as far as the trainer knows."""
    from text2expert.plan import duration  # noqa: PLC0415 - each command loads what it needs
    from text2expert.runners import gpus  # noqa: PLC0415

    took = "" if training.seconds is None else f"about {duration(training.seconds)}"
    if trainer.embedded:
        return f"$0.00, {took} on the processor"
    if gpus.cuda(sys.executable):
        return f"$0.00 on its GPU{f'; {took} on an RTX 4090' if took else ''}"
    return f"no CUDA GPU; on one of your own $0.00{f', {took} on an RTX 4090' if took else ''}"


async def _offers(rents: "Vast", job: "Job", limit: int) -> "list[Offer]":
    from text2expert.runners.vast.account import Unclear  # noqa: PLC0415 - each command loads what it needs

    try:
        return await rents.offers(job, limit=limit)
    except Unclear as error:
        raise RunnerError(f"Vast.ai cannot be asked: {error}") from error


def _none(rents: "Vast", near: "Sequence[str]") -> str:
    """What is said where there is no offer."""
    said = f"rented: nobody offers {rents.gpus} x {rents.gpu} now; "
    if near:
        return f"{said}Vast has names that are near: {', '.join(f'--gpu {name}' for name in near)}"
    return f"{said}try again later, or another one (--gpu)"


def _table(rents: "Vast", found: "Sequence[Offer]") -> Iterator[str]:
    yield f"rented, by dollars for a finished job ({rents.gpu}; expected, with traffic):"
    for each in found:
        minutes = max(1, round(each.hours * 60))
        yield (
            f"  ${each.usd:6.2f}  {minutes:4} min  ${each.usd_per_hour:.3f} an hour  {each.gpus} x {each.gpu} "
            f"{each.gpu_gb:.0f} GB  there {100 * each.reliability:.1f} % of the time  {each.mbit_down:,.0f} Mbit/s  {each.where}"
        )
    runner = "vast" if rents.gpu == "RTX_4090" else f"vast:{rents.gpu}"
    yield f"to rent: text2expert run --runner {runner} --train-budget USD, with the same flags; at most {rents.max_hours:g} hours a machine"


@vast.command()
@click.option("--vast-key-env", "--key-env", "key_env", metavar="VARIABLE", help=_KEY)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before destroying what is left over.")
def sweep(key_env: str | None, *, yes: bool) -> None:
    """List the machines that text2expert rented, and destroy those that are left over.

    Left over is a machine that this computer has rented and on which none of its runs is at work, and one that another
    computer has rented and whose lease has ended for an hour. Others of ours are listed and let be; machines that
    text2expert did not rent are not even listed.
    """
    from text2expert.runners.vast import sweep as look  # noqa: PLC0415 - each command loads what it needs
    from text2expert.runners.vast.account import CONSOLE, Account  # noqa: PLC0415
    from text2expert.runners.vast.journal import Journal  # noqa: PLC0415

    account = Account(None if key_env is None else key_in("--vast-key-env", key_env))
    found = _sync.run(look(account, Journal()))
    _sync.run(_book_gone(account))
    if not found:
        click.echo("no machine of text2expert is rented")
        return
    for each in found:
        click.echo(f"machine {each.machine}  ${each.usd_per_hour:.3f} an hour  {_standing(each)}")
    left = [each for each in found if each.is_left_over or each.is_abandoned]
    if not left:
        click.echo("nothing is left over: others are at work on them, or may be")
        return
    if not yes:
        click.confirm(f"Destroy {', '.join(str(each.machine) for each in left)}, with all that is on it?", abort=True)
    gone = {each.machine: _sync.run(_remove(account, each)) for each in left}
    kept = [each for each in left if gone[each.machine] is False]
    if kept:
        raise RunnerError(
            f"machine {', '.join(str(each.machine) for each in kept)} could not be destroyed and costs money: run this again, "
            f"or destroy it yourself at {CONSOLE}"
        )
    click.echo(f"destroyed: {', '.join(str(each.machine) for each in left if gone[each.machine]) or 'nothing'}")


async def _book_gone(account: "Account") -> None:
    from text2expert.runners.vast.journal import Journal  # noqa: PLC0415 - each command loads what it needs
    from text2expert.runners.vast.sweeping import book_gone  # noqa: PLC0415

    await book_gone(account, Journal())


async def _remove(account: "Account", found: "Found") -> bool | None:
    from text2expert.runners.vast.sweeping import remove  # noqa: PLC0415 - each command loads what it needs

    return await remove(account, found)


def _standing(found: "Found") -> str:
    """How a machine stands, for whoever decides about it."""
    from text2expert.plan import duration  # noqa: PLC0415 - each command loads what it needs
    from text2expert.runners.vast.journal import now  # noqa: PLC0415

    where = "rented from this computer" if found.here else "rented from elsewhere"
    lease = duration(abs(found.lease_until - now()))
    if found.at_work:
        return f"{where}, at work"
    if found.is_left_over:
        return f"{where}, LEFT OVER: its lease ended {lease} ago"
    if found.is_abandoned:
        return (
            f"{where}, LEFT OVER: nobody is at work on it; the run in {found.folder} would go on with it, and it destroys "
            f"itself when its lease ends, in {lease}"
        )
    ends = f"ends in {lease}" if found.lease_until >= now() else f"ended {lease} ago, by a clock that may differ"
    return f"{where}, its lease {ends}"

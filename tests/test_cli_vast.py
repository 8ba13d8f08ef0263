"""Renting on the command line and in plans: named, told, asked for; and what is left over is found and destroyed."""

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path

import attrs
import click
import pytest
from aiohttp import web
from click.testing import CliRunner
from pumps import PUMPS
from test_pipeline_training import Elsewhere, Rented
from vast_server import KEY, Chaos, VastServer

from text2expert import (
    LLM,
    SSH,
    InputError,
    Ledger,
    Local,
    Pipeline,
    ProviderError,
    RunnerError,
    StarvedRunError,
    Teacher,
    Trainer,
    Vast,
    cli,
    doctor,
    planning,
    receipt,
)
from text2expert.cli import main
from text2expert.exchange import Completion
from text2expert.flags import trainer_of
from text2expert.ledger import budget
from text2expert.records import Job, Needs, Quote
from text2expert.runners import gpus, named
from text2expert.runners.vast import Pace
from text2expert.runners.vast.journal import Journal, Rental

BASE = "Qwen/Qwen2.5-7B-Instruct"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder but for a text, with a state folder of its own and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(gpus, "_DEVICES", ())
    gpus.cuda.cache_clear()
    (tmp_path / "pumps.txt").write_text(PUMPS, "utf-8")
    return tmp_path


@pytest.fixture
def vast(here, monkeypatch):
    """The API alone: its machines never get as far as a server of their own."""
    with VastServer(here / "vast", load_seconds=0, chaos=Chaos(never_ready=1.0)) as server:
        monkeypatch.setenv("VAST_URL", server.url)
        monkeypatch.setenv("MY_VAST_KEY", KEY)
        yield server


def call(*arguments, code=0, stdin=None):
    result = CliRunner().invoke(main, arguments, input=stdin)
    assert result.exit_code == code, result.output
    assert KEY not in result.output
    return result


def flat(shown):
    return " ".join(str(shown).split())


# Runners by name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("local", Local()),
        ("ssh:me@box", SSH("me@box")),
        ("ssh:me@box:2222", SSH("me@box:2222")),
        ("vast", Vast(budget=3.0)),
        ("vast:RTX_5090", Vast(gpu="RTX_5090", budget=3.0)),
    ],
)
def test_a_runner_has_a_name(name, expected):
    assert expected == named.named(name, budget=3.0 if name.startswith("vast") else None)


@pytest.mark.parametrize("name", ["", "ssh", "ssh:", "local:", "local:2", "vast:", "gcp", "ssh:two words", "Vast"])
def test_no_other_name_is_one(name):
    with pytest.raises(InputError, match=r"runner|destination"):
        named.named(name)


@pytest.mark.parametrize("name", ["local", "ssh:me@box"])
def test_a_budget_is_for_what_is_rented(name):
    with pytest.raises(InputError, match="--train-budget"):
        named.named(name, budget=3.0)


@pytest.mark.parametrize("name", ["vast", "ssh:me@box"])
def test_processes_are_those_of_this_machine(name):
    with pytest.raises(InputError, match="--processes"):
        named.named(name, processes=2)


@pytest.mark.parametrize(
    ("key", "gpu", "expected"),
    [("", False, Local()), ("k", False, Vast()), ("", True, Local()), ("k", True, Local())],
)
def test_the_cloud_trains_on_the_gpu_that_is_here_else_on_a_rented_one(here, monkeypatch, key, gpu, expected):
    """With neither GPU nor key it is this machine, whose check says so before anything is paid."""
    monkeypatch.setattr(gpus, "cuda", lambda python: gpu)
    if key:
        monkeypatch.setenv("VAST_API_KEY", key)
    assert expected == Pipeline.cloud().trainer.runner


FLAGS = dict.fromkeys(
    (
        "base",
        "replay",
        "refusals",
        "processes",
        "runner",
        "train_budget",
        "max_hours",
        "max_usd_per_hour",
        "vast_key_env",
        "backend",
        "llamafactory",
    ),
    None,
)


@pytest.mark.parametrize(
    ("flags", "cloud", "expected"),
    [
        ({}, False, Local()),
        ({}, True, Vast()),
        ({"train_budget": 4.0}, True, Vast(budget=4.0)),
        ({"runner": "local"}, True, Local()),
        ({"processes": 2}, True, Local(processes=2)),
        ({"base": "none"}, True, Local()),
        ({"runner": "ssh:me@box"}, False, SSH("me@box")),
        ({"runner": "vast", "train_budget": 4.0}, False, Vast(budget=4.0)),
        (
            {"runner": "vast:RTX_5090", "max_hours": 2.0, "max_usd_per_hour": 0.5, "vast_key_env": "MY_VAST_KEY"},
            False,
            Vast(gpu="RTX_5090", max_hours=2.0, max_usd_per_hour=0.5, api_key=KEY),
        ),
    ],
)
def test_the_flags_name_the_runner(here, monkeypatch, flags, cloud, expected):
    monkeypatch.setenv("VAST_API_KEY", "k")
    monkeypatch.setenv("MY_VAST_KEY", KEY)
    assert expected == trainer_of(cloud=cloud, seed=0, **{**FLAGS, **flags}).runner


def test_a_wrong_runner_is_one_line(here):
    said = call("plan", "-i", "pumps.txt", "--runner", "gcp", code=1).stderr
    assert said.startswith("text2expert: --runner gcp: ")
    assert len(said.splitlines()) == 1
    assert "--train-budget" in call("plan", "-i", "pumps.txt", "--train-budget", "3", code=1).stderr


# Plans


@attrs.frozen
class Priced:
    """A runner with a quote of its own."""

    asks: object = Quote(usd=0.5, seconds=3000.0, most=4.0)
    budget: float | None = None
    host: str = "a machine of Priced Inc."

    async def quote(self, job):
        assert job.needs.tokens > 0
        if isinstance(self.asks, Exception):
            raise self.asks
        return self.asks

    async def run(self, job):
        raise RunnerError("stopped here")


def plan_with(runner, source="pumps.txt", **more):
    return Pipeline(trainer=Trainer(BASE, runner=runner), **more).plan(source)


def test_a_plan_has_what_the_machine_costs_and_who_sees_what(here):
    plan = plan_with(Priced())
    assert (plan.usd_low, plan.usd_high, plan.most) == (0.5, 0.5, 4.0)
    assert ("a machine of Priced Inc.",) == plan.hosts
    said = flat(plan)
    assert "machine a machine of Priced Inc.: about $0.50 for about 50 min, $4.00 at most" in said
    assert "cost $0.50, $4.00 at most" in said
    assert "your text goes to a machine of Priced Inc." in said
    assert "the golden dataset, the text, the exam's questions without their answers, and the expert" in said
    assert "about 50 min" in said.split(" time ")[1]


@pytest.mark.parametrize(
    ("of_training", "of_run", "most"), [(3.0, None, 3.0), (3.0, 2.0, 2.0), (None, 2.0, 2.0), (9.0, None, 4.0)]
)
def test_budgets_cap_the_worst_case_of_the_plan(here, of_training, of_run, most):
    assert most == plan_with(Priced(budget=of_training), budget=of_run).most


@pytest.mark.parametrize(("key", "said"), [("another", "does not accept the key"), (KEY, "add credit at")])
def test_a_run_whose_machine_cannot_be_paid_is_refused_before_it_asks(vast, monkeypatch, key, said):
    """Nor is it asked whether to teach for money what cannot be trained."""
    vast.account = {"credit": 0.05}
    monkeypatch.setattr(click, "confirm", lambda *_, **__: pytest.fail("asked"))
    teacher = Teacher(LLM("http://localhost:1/v1#model"))
    steps = Pipeline(teacher=teacher, trainer=Trainer(BASE, runner=Vast(api_key=key)))
    with pytest.raises(ProviderError, match=said):
        cli._before(steps, ["pumps.txt"], None, ask=True, trains=True)
    assert not Path("expert_model_pumps").exists()


def test_a_budget_below_what_is_expected_is_said(here):
    said = flat(plan_with(Priced(budget=0.2)))
    assert "expected to cost $0.50, it is not rented with less than $0.50, and its budget is $0.20: raise it" in said
    assert "--train-budget" not in flat(plan_with(Priced(budget=0.6)))


def test_a_budget_with_which_nothing_would_be_rented_is_said(here):
    """A part of it is kept back for giving the machine back: better known before teaching is paid for than after."""
    quote = Quote(usd=0.5, seconds=3000.0, most=4.0, least=0.63)
    assert "it is not rented with less than $0.63, and its budget is $0.60" in flat(
        plan_with(Priced(quote, budget=0.6))
    )
    assert "--train-budget" not in flat(plan_with(Priced(quote, budget=0.63)))


def test_what_renting_asks_for_at_least_is_in_its_quote(vast):
    """As the run itself asks: with what the plan names, a machine is rented, and with a cent less it is not."""
    rents = Vast(api_key=KEY)
    quote = asyncio.run(rents.quote(Job(id="job", folder=".", stages=(), needs=Needs(tokens=1_000_000, vram_gb=20.0))))
    assert quote.usd < quote.least < quote.most
    back = (rents.pace.grace + rents.pace.lease) / 3600
    best = min(vast.offers, key=lambda each: each["dph_total"])
    assert quote.least - quote.usd == pytest.approx(back * best["dph_total"], rel=0.15)


@pytest.mark.parametrize("problem", [RunnerError("no network"), OSError("no network"), ValueError("no network")])
def test_a_plan_works_where_nobody_can_be_asked(here, problem):
    plan = plan_with(Priced(problem))
    assert "could not be asked for (no network)" in flat(plan)
    assert "cost $0.00 and what the machine costs, and nothing limits the rent" in flat(plan)
    assert float("inf") == plan.most
    assert plan_with(Priced(problem, budget=3.0)).most == 3.0


def test_a_plan_does_not_wait_for_ever(here, monkeypatch):
    class Silent(Rented):
        async def quote(self, job):
            await asyncio.sleep(60)

    monkeypatch.setattr(planning, "QUOTE_SECONDS", 0.05)
    assert "no answer within" in flat(plan_with(Silent()))


def test_somebodys_own_runner_that_names_no_host_is_no_secret(here):
    plan = plan_with(Elsewhere())
    assert ("wherever Elsewhere runs it",) == plan.hosts
    assert plan.rent is None
    assert "nobody: it stays on this machine" in flat(plan_with(Local()))


def test_a_base_of_ones_own_is_seen_there_too(here):
    (here / "mine").mkdir()
    (here / "mine" / "config.json").write_text("{}")
    plan = Pipeline(trainer=Trainer("./mine", runner=SSH("me@box"))).plan("pumps.txt")
    assert "what me@box holds, its owner could read: the base's folder, the golden dataset" in flat(plan)


def test_a_plan_with_vast_asks_for_the_best_offer(vast):
    plan = plan_with(Vast(api_key=KEY, budget=3.0))
    assert plan.rent.problem == ""
    assert 0 < plan.usd_low < 1
    assert 3.0 == plan.most
    assert "a machine rented from Vast.ai" in plan.hosts
    assert {("POST", "/api/v0/bundles/")} == set(vast.calls)


def test_without_a_budget_the_worst_is_every_try_to_the_last_hour(vast):
    """Three of the dearest machines, six hours each, and the time in which they give themselves back."""
    plan = plan_with(Vast(api_key=KEY))
    traffic = 0.1 * 6 * 0.47 + 0.0001 * (9 + 15.2 + 4)  # checkpoints, at most; image, base and what else goes there
    assert pytest.approx(3 * (0.47 * (6 + (300 + 900) / 3600) + traffic), rel=1e-4) == plan.most


def test_a_plan_without_a_key_says_so(here):
    assert "could not be asked for (there is no key for Vast.ai: set VAST_API_KEY" in flat(plan_with(Vast()))


def test_a_run_that_rents_asks_first_and_without_a_key_never_starts(here, monkeypatch):
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    said = call("run", "-i", "pumps.txt", "--base", BASE, "--runner", "vast", code=1).stderr
    assert "VAST_API_KEY" in said
    assert ["pumps.txt"] == [path.name for path in here.iterdir()]


@pytest.mark.parametrize(
    ("runner", "question"),
    [
        (Priced(budget=3.0), "Start, for at most $3.00?"),
        (Priced(), "Start, for at most $4.00?"),
        (Priced(RunnerError("no network")), "nothing limits what the machine may cost (--train-budget)?"),
    ],
)
def test_what_a_machine_may_cost_is_asked_first(here, monkeypatch, runner, question):
    """Of a run on a text, and of one on a dataset; where nothing is trained, nothing is rented."""
    asked = []

    def confirm(text, *, abort):
        asked.append(text)
        raise click.Abort

    monkeypatch.setattr(click, "confirm", confirm)
    pipeline = Pipeline(trainer=Trainer(BASE, runner=runner))
    with pytest.raises(click.Abort):
        cli._before(pipeline, ["pumps.txt"], None, ask=True, trains=True)
    Path("gold.jsonl").write_text('{"instruction": "Question?", "output": "Answer."}\n')
    with pytest.raises(click.Abort):
        cli._before_training(pipeline.trainer, "gold.jsonl")
    cli._before(pipeline, ["pumps.txt"], None, ask=True, trains=False)
    assert [question in text for text in asked] == [True, True]


def test_llamafactory_is_not_rented_for(here):
    trainer = Trainer(BASE, runner=Vast(api_key=KEY), backend="llamafactory")
    with pytest.raises(InputError, match="not there on one that is rented"):
        trainer.check()


def test_a_starved_run_does_not_rent(vast):
    """Vast has a quote, so it costs money: too little data stops before anything is rented."""
    runner = Vast(api_key=KEY)
    with pytest.raises(StarvedRunError, match="training pairs are there"):
        Pipeline(trainer=Trainer(BASE, runner=runner)).run("pumps.txt", out="run")
    assert [] == vast.calls
    assert {} == vast.instances


# Offers


def test_offers_are_shown_with_what_they_cost_and_the_same_here(vast):
    shown = call(
        "vast", "offers", "-i", "pumps.txt", "--base", BASE, "--vast-key-env", "MY_VAST_KEY", "--limit", "2"
    ).output
    lines = shown.splitlines()
    assert lines[0].startswith("training: ")
    assert "on this machine: no CUDA GPU; on one of your own $0.00, about " in lines[1]
    rows = [line for line in lines if "an hour" in line]
    assert ["$0.400", "$0.410"] == [row.split("min")[1].split()[0] for row in rows]
    assert "--runner vast --train-budget" in lines[-1]
    assert {} == vast.instances


def test_offers_for_a_dataset_and_another_gpu(vast):
    gold = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(60)]
    Path("gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    options = ("--gold", "gold.jsonl", "--base", BASE, "--vast-key-env", "MY_VAST_KEY")
    assert (
        "over 60 rows" in flat(call("vast", "offers", *options).output)
        or "60" in call("vast", "offers", *options).output
    )
    vast.offers[3]["gpu_name"] = "RTX 5090"
    shown = call("vast", "offers", *options, "--gpu", "RTX_5090").output
    assert 1 == shown.count("an hour")
    assert "--runner vast:RTX_5090" in shown
    assert "now; try again later" in call("vast", "offers", *options, "--gpu", "H200").output
    none = call("vast", "offers", *options, "--gpu", "4090").output.splitlines()[-1]
    assert "rented: nobody offers 1 x 4090 now; Vast has names that are near: --gpu RTX_4090" == none
    assert "leave out pumps.txt" in call("vast", "offers", "pumps.txt", *options, code=1).stderr


def test_offers_are_those_of_vast(here):
    assert "--runner local" in call("vast", "offers", "-i", "pumps.txt", "--runner", "local", code=1).stderr


# Sweeping


def rented(vast, token, lease, *, job="job", label=None):
    label = label or f"text2expert/{job}/{token}/{int(time.time() + lease)}"
    return vast.rent(vast.offers[len(vast.instances)], label, "true")


def sweep(*options, code=0, stdin=None):
    return call("vast", "sweep", "--vast-key-env", "MY_VAST_KEY", *options, code=code, stdin=stdin)


def test_a_sweep_destroys_what_is_left_over_and_nothing_else(vast):
    old, young = rented(vast, "a" * 12, -7200), rented(vast, "b" * 12, 600)
    foreign = rented(vast, "", 0, label="somebody's own")
    held = rented(vast, "c" * 12, -60)
    rental = Rental(
        token="c" * 12, job="job", folder="f", url=vast.url, begun=0.0, lease_until=time.time() - 60, machine=held.id
    )
    journal = Journal()
    journal.write(rental)
    with journal.held(rental):
        shown = sweep("--yes").output
    assert {young.id, foreign.id, held.id} == {each.id for each in vast.living()}
    assert f"machine {old.id}  $0.400 an hour  rented from elsewhere, LEFT OVER" in shown
    assert f"machine {young.id}" in shown
    assert f"machine {held.id}  $0.430 an hour  rented from this computer, at work" in shown
    assert str(foreign.id) not in shown
    assert shown.endswith(f"destroyed: {old.id}\n")
    again = sweep("--yes").output
    assert f"destroyed: {held.id}" in again  # nobody is at work on it any more
    assert {young.id, foreign.id} == {each.id for each in vast.living()}


def test_a_machine_whose_run_was_killed_is_left_over_before_its_lease_ends(vast, tmp_path):
    """Who is told to run a sweep, or has killed a run for good, need not wait for the machine's own timer."""
    young = rented(vast, "d" * 12, 600)
    rental = Rental(
        token="d" * 12, job="job", folder=str(tmp_path / "run"), url=vast.url, begun=0.0, lease_until=time.time() + 600,
        machine=young.id,
    )  # fmt: skip
    Journal().write(rental)
    shown = sweep(stdin="n\n", code=1).output
    assert f"LEFT OVER: nobody is at work on it; the run in {tmp_path / 'run'} would go on with it" in shown
    assert [young] == vast.living()
    assert f"destroyed: {young.id}\n" in sweep("--yes").output
    assert [] == vast.living()


def test_a_sweep_asks_first(vast):
    old = rented(vast, "a" * 12, -7200)
    shown = sweep(stdin="n\n", code=1).output
    assert f"Destroy {old.id}" in shown
    assert [old.id] == [each.id for each in vast.living()]
    sweep(stdin="y\n")
    assert [] == vast.living()


def test_what_was_renewed_before_the_answer_is_let_be(vast, monkeypatch):
    """The question may stand for hours."""
    old = rented(vast, "a" * 12, -7200)

    def renew(text, *, abort):
        old.label = f"text2expert/job/{'a' * 12}/{int(time.time()) + 900}"

    monkeypatch.setattr(click, "confirm", renew)
    result = sweep()
    assert f"the lease of machine {old.id} was renewed: let be" in result.stderr
    assert "destroyed: nothing\n" in result.output
    assert [old] == vast.living()


def test_a_machine_from_elsewhere_is_no_left_over_for_an_hour(vast):
    young = rented(vast, "a" * 12, -60)
    shown = sweep("--yes").output
    assert f"machine {young.id}  $0.400 an hour  rented from elsewhere, its lease ended" in shown
    assert "nothing is left over" in shown
    assert [young] == vast.living()


def test_nothing_to_sweep_is_said(vast):
    assert "no machine of text2expert is rented" in sweep().output
    rented(vast, "b" * 12, 600)
    assert "nothing is left over" in sweep().output


def test_what_cannot_be_destroyed_is_said_and_fails(vast, monkeypatch):
    """By its number, its price and its exit code."""
    from text2expert import vast_commands
    from text2expert.runners.vast import sweeping

    async def impatient(account, found):
        return await sweeping.remove(account, found, seconds=0.5, poll=0.1)

    monkeypatch.setattr(vast_commands, "_remove", impatient)
    old = rented(vast, "a" * 12, -7200)

    def refuse(request):
        raise web.HTTPBadRequest(text='{"success": false, "error": "busy"}')

    monkeypatch.setattr(vast, "_living", refuse)
    result = sweep("--yes", code=1)
    assert f"machine {old.id} could not be destroyed and costs money" in result.stderr
    assert "COULD NOT BE GIVEN BACK and costs $0.40 an hour" in result.stderr
    assert "destroyed:" not in result.output


def test_a_key_of_the_environment_does_not_go_to_another_host(vast, monkeypatch):
    monkeypatch.setenv("VAST_API_KEY", "secret")
    assert "no key of the environment goes there" in call("vast", "sweep", code=1).stderr
    assert [] == vast.calls


# The receipt, and what doctor says


def test_the_receipt_has_what_renting_did_cost(here):
    """What is settled, and apart from it what a machine holds that is not known to be gone."""
    done = Completion(text="", reasoning="", usage=None, finish="stop", model="vast", raw="{}")

    async def rent(book):
        with budget("training", 2):
            first = await book.hold("rent/a", Decimal(1), batch=True)
            book.open_batch(["rent/a"])
            book.settle(first, done, Decimal("0.25"))
            await book.hold("rent/b", Decimal("0.5"), batch=True)
            book.open_batch(["rent/b"])

    with Ledger(here) as book:
        asyncio.run(rent(book))
        said, cost = receipt.spent(), receipt._cost()
    assert (said["cost_usd"], said["machines"], said["requests"]) == ("0.25", 1, 0)
    assert said["costs"]["training"]["settled_usd"] == "0.25"
    assert said["rent_held_usd_at_most"] == "0.5"
    assert (
        "$0.25 ($0.25 of it for renting, and at most $0.50 for a machine that is not known to be gone: run it again)"
        == cost
    )


def test_a_trainer_alone_books_its_rent_in_its_own_folder(vast):
    """Here for a machine that never gets ready: it is given back, and what it did cost stands beside the job."""
    gold = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(60)]
    Path("gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in gold))
    pace = Pace(poll=0.1, ready=0.4, lease=15, heartbeat=1, grace=1, destroy=10, settle=0.5)
    trainer = Trainer(BASE, train_anyway=True, runner=Vast(api_key=KEY, budget=1.0, tries=1, pace=pace))
    with pytest.raises(RunnerError, match="was not ready"):
        trainer.train("gold.jsonl", folder="alone")
    assert ([], 1) == (vast.living(), len(vast.instances))
    with Ledger("alone") as book:
        assert (1, 0) == (book.spent("training").calls, book.spent("training").held)
    assert not Path(".text2expert").exists()


@pytest.mark.parametrize("place", ["config/vastai/vast_api_key", ".vast_api_key"])
def test_doctor_finds_the_key_that_vasts_own_command_line_stored(here, place):
    assert "VAST_API_KEY       not set" in doctor.report()
    assert "command line stored" not in doctor.report()
    (here / place).parent.mkdir(parents=True, exist_ok=True)
    (here / place).write_text("very-secret")
    assert f"stored ({here / place})" in doctor.report()
    assert "very-secret" not in doctor.report()

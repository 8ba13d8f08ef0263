"""Renting, one thing at a time: the server of Vast's contract, machines that are real SSH servers, a stage without torch."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import attrs
import boxes
import pytest
from boxes import QUICK, job_in
from vast_server import KEY, PRICE, Fault, VastServer

from text2expert import ledger
from text2expert.errors import AuthenticationFailed, BudgetExhausted, InputError, OutOfBalance, RunnerError
from text2expert.ledger import Ledger
from text2expert.records import Job, Needs
from text2expert.runners import remote
from text2expert.runners.vast import Vast, account, offers, sweep, sweeping
from text2expert.runners.vast.account import Account
from text2expert.runners.vast.box import Box
from text2expert.runners.vast.deadman import LONGEST, script
from text2expert.runners.vast.journal import Journal, Rental, token_of

SECOND = 0.44 / 3600
"""Dollars, of the dearest machine that these tests get."""

CREATE, LIST, SHOW, LABEL, DESTROY = (
    ("PUT", "/asks/"),
    ("GET", "/api/v1/instances/"),
    ("GET", "/api/v0/instances/"),
    ("PUT", "/instances/"),
    ("DELETE", "/instances/"),
)


@pytest.fixture
def vast(tmp_path, monkeypatch):
    """A server, and a state folder of its own."""
    monkeypatch.setattr(remote, "RECIPES", boxes.RECIPES)
    monkeypatch.setattr(remote, "POLL_SECONDS", 0.05)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with VastServer(tmp_path / "vast", load_seconds=0.1) as server:
        monkeypatch.setenv("VAST_URL", server.url)
        yield server


def renter(**more):
    pace = attrs.evolve(QUICK, **more.pop("pace", {}))
    return Vast(**{"api_key": KEY, "budget": 1.0, "python": sys.executable, "pace": pace, **more})


def run(folder, runner=None, **job):
    folder.mkdir(exist_ok=True)
    asyncio.run((runner or renter()).run(job_in(folder, **{"steps": 2, **job})))


def begun(folder):
    """After which step the training that has ended went on."""
    return json.loads((folder / "expert" / "adapter_config.json").read_bytes())["begun"]


def spent(folder):
    with Ledger(folder) as book:
        found = book.spent("training")
    return float(found.total), float(found.held)


def rentals():
    return Journal().rentals()


def doubts():
    """What is remembered of calls that were refused, until their lease has ended."""
    return [each for each in rentals() if each.settled and each.machine is None and each.lease_until > time.time()]


def created(server):
    return sum(call[0] == "PUT" and "/asks/" in call[1] for call in server.calls)


def wait(seconds, found):
    until = time.monotonic() + seconds
    while not found() and time.monotonic() < until:
        time.sleep(0.05)
    assert found()


def client(folder, server, state, **settings):
    """The same in a process that can be killed."""
    job = {"name": "job", "steps": 2, **settings.pop("job", {})}
    folder.mkdir(exist_ok=True)
    pace = settings.pop("pace", {})
    settings = {"vast": {"api_key": KEY, "budget": 1.0, **settings}, "job": job, "pace": pace}
    (folder / "vast.json").write_text(json.dumps(settings))
    env = {**os.environ, "VAST_URL": server.url, "XDG_STATE_HOME": str(state)}
    env["PYTHONPATH"] = f"{Path(__file__).parent}:{Path(__file__).parent.parent}"
    with open(folder / "client.log", "ab") as log:
        return subprocess.Popen([sys.executable, boxes.__file__, str(folder)], env=env, stdout=log, stderr=log)


# The way of one rental


def test_a_machine_is_rented_used_paid_and_given_back(vast, tmp_path):
    """The bill is the ledger's, nothing is left, and the receipt says what was rented."""
    run(tmp_path / "run")
    (machine,) = vast.instances.values()
    assert (begun(tmp_path / "run"), machine.destroyed_by, rentals()) == (0, "owner", [])
    usd, held = spent(tmp_path / "run")
    assert held == 0
    assert vast.bill() <= usd <= vast.bill() + 4 * SECOND
    assert not list((tmp_path / "state").rglob("*.key"))
    with Ledger(tmp_path / "run") as book:
        token = token_of(machine.label)[1]
        receipt = json.loads(book.reply(f"rent/{token}").text)
    assert (receipt["machine"], receipt["usd"]) == (machine.id, f"{usd:.5f}")


def test_no_key_of_ours_is_anywhere_but_in_the_headers(vast, tmp_path, capfd):
    """Not in a file, a label, a start script, a line that is said, nor on the machine."""
    seen = []
    here = threading.Event()

    def look():
        while not here.wait(0.1):
            for instance in vast.living():
                for root in (instance.folder, Path.home() / ".text2expert"):
                    with contextlib.suppress(OSError):  # of a machine that ends meanwhile
                        seen.extend(
                            path for path in root.rglob("*") if path.is_file() and KEY in path.read_text("latin-1")
                        )
                for path in Path("/proc").glob("[0-9]*/cmdline"):
                    try:
                        seen.extend([path] if KEY in path.read_text("latin-1") else [])
                    except OSError:
                        continue

    watch = threading.Thread(target=look)
    watch.start()
    try:
        run(tmp_path / "run", steps=6)
    finally:
        here.set()
        watch.join()
    (machine,) = vast.instances.values()
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and KEY.encode() in path.read_bytes()]
    said = "".join(capfd.readouterr())
    assert ([], []) == (seen, kept)
    assert not [text for text in (*machine.labels, machine.onstart, said, repr(renter())) if KEY in text]
    assert machine.key not in said + machine.onstart


def test_killed_and_started_again_it_goes_on_with_its_machine(vast, tmp_path):
    """kill -9 leaves the machine; the second client finds it by the journal, and the training has not stopped."""
    first = client(tmp_path / "run", vast, tmp_path / "state", job={"steps": 60})
    wait(60, (tmp_path / "run" / "stages" / "train" / "progress.jsonl").exists)
    first.kill()
    first.wait()
    run(tmp_path / "run", steps=60)
    assert (1, 0, []) == (len(vast.instances), begun(tmp_path / "run"), vast.living())
    usd, held = spent(tmp_path / "run")
    assert vast.bill() <= usd <= vast.bill() + 5 * SECOND
    assert (held, rentals()) == (0, [])


def test_when_the_client_is_gone_for_good_the_machine_destroys_itself(vast, tmp_path):
    """The timer on the machine, with the machine's own key; the next start books what that took and goes on elsewhere."""
    gone = client(tmp_path / "run", vast, tmp_path / "state", job={"steps": 400}, pace={"lease": 6})
    checkpoints = tmp_path / "run" / "stages" / "train"
    wait(60, lambda: any(checkpoints.glob("checkpoint-*[0-9]")))
    gone.kill()
    gone.wait()
    wait(60, lambda: not vast.living())
    (machine,) = vast.instances.values()
    assert f"machine {machine.id}" == machine.destroyed_by
    lease = rentals()[0].lease_until
    assert lease - 2 <= machine.ended <= lease + 5
    step = max(int(each.name.rpartition("-")[2]) for each in checkpoints.glob("checkpoint-*[0-9]"))
    run(tmp_path / "run", steps=400, seconds=0.001)
    assert (2, []) == (len(vast.instances), rentals())
    usd, held = spent(tmp_path / "run")
    assert (0, True) == (held, vast.bill() <= usd <= vast.bill() + 12 * SECOND)
    assert begun(tmp_path / "run") == step


def test_the_lease_is_renewed_whatever_is_waited_for(vast, tmp_path, monkeypatch):
    """Installing, or carrying a base there, may take longer than a lease."""

    async def slow(remote):
        await asyncio.sleep(6)

    monkeypatch.setattr("text2expert.runners.vast.prepare", slow)
    run(tmp_path / "run", renter(pace={"lease": 4}))
    assert ["owner"] == [each.destroyed_by for each in vast.instances.values()]


def test_a_job_that_is_done_rents_nothing_again(vast, tmp_path, monkeypatch, capfd):
    """It only gives back what is left of it: first nothing, then a machine that could not be given back."""
    run(tmp_path / "run")
    run(tmp_path / "run")
    assert (1, [], 0) == (created(vast), rentals(), spent(tmp_path / "run")[1])
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 0.5})
    vast.faults.append(Fault(*DESTROY, 500, 999))
    stubborn = renter(pace={"destroy": 0.5, "lease": 60})
    run(tmp_path / "other", stubborn)
    run(tmp_path / "other", stubborn)
    assert "the job is done, and it is not known" not in capfd.readouterr().err  # that it is there is said louder
    assert (2, 1, 1) == (created(vast), len(vast.living()), len(rentals()))
    vast.faults.clear()
    run(tmp_path / "other", stubborn)
    assert (2, [], [], 0) == (created(vast), vast.living(), rentals(), spent(tmp_path / "other")[1])


def test_a_machine_that_does_not_take_the_renewal_of_its_lease_is_left_before_it_ends(
    vast, tmp_path, monkeypatch, capfd
):
    """It would destroy itself under the work, and the next one too."""
    monkeypatch.setattr("text2expert.runners.vast.deadman.renewal", lambda **_: "exit 7")
    with pytest.raises(RunnerError, match="does not take renewals of its lease"):
        run(tmp_path / "run", renter(tries=2, pace={"lease": 30}), steps=400)
    assert ["owner", "owner"] == [each.destroyed_by for each in vast.instances.values()]
    assert "does not take the renewal of its lease (exit code 7)" in capfd.readouterr().err


# Money


@pytest.fixture
def short(monkeypatch, vast):
    """Jobs that are expected to be done in seconds."""
    monkeypatch.setattr(offers, "SETUP_SECONDS", 1.0)
    monkeypatch.setattr(offers, "EXAM_SECONDS", 1.0)
    for offer in vast.offers:
        offer["inet_down"] = 1e6
    return vast


def test_the_budget_ends_in_time_and_a_larger_one_goes_on(short, tmp_path):
    """By the server's own bill no more than the budget; the checkpoint is at home, and the work goes on from it."""
    pace = {"lease": 6, "grace": 4}
    rate = short.offers[0]["dph_total"] / 3600
    # Eight seconds of work, what giving it back may take, and image and base.
    budget = rate * (8 + 6 + 4) + 25 * PRICE
    with pytest.raises(BudgetExhausted, match="raise budget or max_hours"):
        run(tmp_path / "run", renter(budget=budget, pace=pace), steps=400)
    assert short.living() == []
    assert 0 < short.bill() <= budget
    assert spent(tmp_path / "run")[0] <= budget
    (kept,) = (tmp_path / "run" / "stages" / "train").glob("checkpoint-*")
    step = int(kept.name.rpartition("-")[2])
    with pytest.raises(BudgetExhausted, match="is left, and the job is expected to need"):
        run(tmp_path / "run", renter(budget=budget, pace=pace), steps=400)
    assert len(short.instances) == 1
    (tmp_path / "run" / "stages" / "train" / "job.json").unlink()
    run(tmp_path / "run", renter(budget=1.0, pace=pace), steps=400, seconds=0.001)
    assert step <= begun(tmp_path / "run")


@pytest.mark.parametrize("clock", [-3600.0, 3600.0])
def test_a_clock_that_is_set_anew_makes_no_machine_younger(short, tmp_path, monkeypatch, clock):
    """Budget and ledger go by the time that has passed; set forward, the machine only ends early."""
    begun = time.monotonic()

    def now():
        return time.time() + (clock if time.monotonic() - begun > 4 else 0.0)

    for module in ("box", "renting", "reaching"):
        monkeypatch.setattr(f"text2expert.runners.vast.{module}.now", now)
    budget = SECOND * (8 + 6 + 4) + 25 * PRICE
    with pytest.raises(BudgetExhausted):
        run(tmp_path / "run", renter(budget=budget, pace={"lease": 6, "grace": 4}), steps=400)
    assert short.living() == []
    assert 0 < short.bill() <= budget
    assert short.bill() <= spent(tmp_path / "run")[0]


def priced(vast, usd):
    for offer in vast.offers:
        offer["inet_up_cost"] = offer["inet_down_cost"] = usd


def test_traffic_is_booked_as_it_was(vast, tmp_path):
    """Image and base, what went there, and what came back, as the server's own line has counted it."""
    priced(vast, 1.0)
    run(tmp_path / "run", renter(budget=100.0), steps=12, checkpoint_bytes=10_000_000)
    (machine,) = vast.instances.values()
    carried = (machine.sent + machine.received) / 1e9
    assert (16.0, True) == (machine.base_gb, carried > 0.01)
    usd = spent(tmp_path / "run")[0]
    assert vast.bill() <= usd <= vast.bill() + 0.06 * carried + 4 * SECOND


def test_a_machine_that_dies_while_it_loads_has_fetched_no_base(vast, tmp_path):
    priced(vast, 1.0)
    vast.bad[100] = "dead"
    with pytest.raises(RunnerError, match="1 machines were rented"):
        run(tmp_path / "run", renter(budget=100.0, tries=1))
    assert vast.bill() <= spent(tmp_path / "run")[0] <= vast.bill() + 4 * SECOND


@pytest.mark.parametrize(("price", "few"), [(0.0, False), (1.0, True)])
def test_checkpoints_come_home_as_far_as_their_traffic_is_a_small_part_of_the_rent(vast, tmp_path, price, few):
    """The first one always; of three of ten megabytes, at a dollar per gigabyte, no other."""
    priced(vast, price)
    run(tmp_path / "run", renter(budget=100.0), steps=12, seconds=0.5, checkpoint_bytes=10_000_000)
    (machine,) = vast.instances.values()
    assert few == (machine.sent < 15_000_000)


def test_traffic_ends_the_budget_too(short, tmp_path):
    """By the server's own bill no more than the budget, and the last checkpoint is here."""
    priced(short, 1.0)
    budget = 25.05 + SECOND * (6 + 4)  # five checkpoints, or seven minutes
    with pytest.raises(BudgetExhausted):
        run(
            tmp_path / "run", renter(budget=budget, pace={"lease": 6, "grace": 4}, max_hours=12 / 3600), steps=400,
            checkpoint_bytes=10_000_000,
        )  # fmt: skip
    assert short.living() == []
    assert short.bill() <= spent(tmp_path / "run")[0] <= budget
    assert list((tmp_path / "run" / "stages" / "train").glob("checkpoint-*"))


def test_hours_end_in_time(short, tmp_path):
    with pytest.raises(BudgetExhausted, match="hours"):
        run(tmp_path / "run", renter(max_hours=5 / 3600, budget=None), steps=400)
    assert short.living() == []
    assert short.bill() <= SECOND * (5 + QUICK.grace + QUICK.lease) + 25.1 * PRICE


def test_no_more_is_held_than_the_budgets_around_leave(vast, tmp_path):
    """The run's own budget counts as well: nothing is rented where it leaves too little."""
    (tmp_path / "run").mkdir()
    with Ledger(tmp_path / "run"), ledger.budget("", 0.05), pytest.raises(BudgetExhausted, match="is left"):
        run(tmp_path / "run", renter(budget=5))
    assert (0, []) == (created(vast), rentals())


def test_what_is_booked_is_never_below_what_runs():
    """Between two looks the dearer end counts; the price is the one that the machine shows."""
    rental = Rental(token="a" * 12, job="j", folder="f", url="u", begun=1000.0, lease_until=1e9, usd_per_hour="3.6")
    box = Box(rental=rental, hold=None, batch=1, idle_at=1000.0)
    assert Decimal("0.1") == box.cost(1100)  # nobody looked: it ran
    box.look({"actual_status": "loading", "storage_total_cost": 0.36, "dph_total": 7.2}, 1040)
    assert Decimal("0.124") == box.cost(1100)  # forty seconds of storage, sixty at the new price
    box.look({"actual_status": "running", "storage_total_cost": 0.36, "dph_total": 7.2}, 1070)
    box.look({"actual_status": "offline", "dph_total": "nan"}, 1090)
    assert (1040, Decimal("0.124")) == (box.rental.running_since, box.cost(1100))


# Answers that are lost, refused, or double


@pytest.mark.parametrize("kind", ["lost", "cut"])
def test_a_lost_answer_to_renting_is_reconciled_by_the_label(vast, tmp_path, kind):
    vast.faults.append(Fault(*CREATE, kind))
    run(tmp_path / "run")
    assert (1, 1) == (created(vast), len(vast.instances))


@pytest.mark.parametrize("kind", ["error", 503])
def test_an_answer_that_was_lost_before_anything_was_rented_is_not_sent_again(vast, tmp_path, kind):
    """Nothing of its label comes up: the next offer is taken, and never are there two."""
    vast.faults.append(Fault(*CREATE, kind))
    run(tmp_path / "run")
    assert (2, [101]) == (created(vast), [each.offer["id"] for each in vast.instances.values()])


def test_a_refusal_to_the_second_copy_of_a_call_that_did_rent_is_seen_through(vast, tmp_path):
    """Carried out twice: the second time the offer is gone, and the machine is ours all the same."""
    vast.faults.append(Fault(*CREATE, "twice"))
    run(tmp_path / "run")
    assert (1, 1, []) == (created(vast), len(vast.instances), vast.living())
    assert vast.bill() <= spent(tmp_path / "run")[0]


def test_a_list_that_is_late_hides_no_machine_from_whoever_was_refused(vast, tmp_path):
    """Carried out twice, refused the second time, and in no list for a second: no other one is rented."""
    vast.lag = 1.0
    vast.faults.append(Fault(*CREATE, "twice"))
    run(tmp_path / "run")
    assert (1, []) == (created(vast), vast.living())
    assert vast.bill() <= spent(tmp_path / "run")[0]


@pytest.mark.parametrize("status", [403, 410, 503])
def test_a_machine_that_comes_up_after_it_was_taken_for_none_goes_back_and_is_paid(vast, tmp_path, status):
    """While the work goes on elsewhere, or by the next start."""
    vast.lag = 3.0
    vast.faults.append(Fault(*CREATE, status, done=True))
    refused = pytest.raises(AuthenticationFailed) if status == 403 else contextlib.nullcontext()
    with refused:
        run(tmp_path / "run", renter(pace={"lease": 60}), steps=60)
    first, *others = vast.instances.values()
    if status == 403:
        assert [first] == vast.living()
        time.sleep(2)
        vast.lag = 0
        run(tmp_path / "run", renter(pace={"lease": 60}))
        first, *others = vast.instances.values()
    (second,) = others
    assert ([], "owner") == (vast.living(), first.destroyed_by)
    assert first.ended < second.ended
    assert [] == rentals()
    usd, held = spent(tmp_path / "run")
    assert (0, True) == (held, vast.bill() <= usd)


def test_answers_that_are_lost_are_tries(vast, tmp_path, monkeypatch, capfd):
    """No more machines than tries though none is seen; their rent until they end themselves is held, and that is said."""
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 1.0})
    vast.lag = 8.0
    vast.faults.append(Fault(*CREATE, "lost", 999))
    with pytest.raises(RunnerError, match="2 machines were rented and none finished the job"):
        run(tmp_path / "run", renter(tries=2, pace={"lease": 60}))
    assert (2, 2) == (created(vast), len(vast.living()))
    assert spent(tmp_path / "run")[1] == pytest.approx(2 * (9 * PRICE + SECOND * (60 + QUICK.grace)), rel=0.1)
    assert 2 == capfd.readouterr().err.count("IT IS NOT KNOWN WHETHER A MACHINE WAS RENTED")
    vast.faults.clear()
    run(tmp_path / "run", renter(pace={"lease": 60}), steps=80)  # they come up while the next one is at work
    assert (3, [], []) == (created(vast), vast.living(), rentals())
    usd, held = spent(tmp_path / "run")
    assert (0, True) == (held, vast.bill() <= usd)


@pytest.mark.parametrize("kind", ["", "lost"])
def test_of_two_machines_by_one_call_one_goes_back_at_once(vast, tmp_path, kind):
    """Both have the label; both are paid."""
    vast.twins = 1
    if kind:
        vast.faults.append(Fault(*CREATE, kind))
    run(tmp_path / "run", steps=20)
    one, two = vast.instances.values()
    assert ["owner", "owner"] == [one.destroyed_by, two.destroyed_by]
    assert two.ended < min(two.began + 3, one.ended)
    assert vast.bill() <= spent(tmp_path / "run")[0]


def test_too_many_calls_are_waited_for(vast, tmp_path):
    vast.faults += [Fault(*CREATE, 429, 2), Fault(*SHOW, 429, 2), Fault(*LIST, 429), Fault(*DESTROY, 429)]
    run(tmp_path / "run")
    assert (3, [100]) == (created(vast), [each.offer["id"] for each in vast.instances.values()])


def test_an_offer_that_is_gone_leads_to_the_next_one(vast, tmp_path):
    vast.faults.append(Fault(*CREATE, 410))
    run(tmp_path / "run")
    assert [101] == [each.offer["id"] for each in vast.instances.values()]
    assert doubts() == rentals()


def test_an_account_without_credit_says_so(vast, tmp_path):
    vast.faults.append(Fault(*CREATE, 400, 9, "Your account lacks credit; see the billing page."))
    with pytest.raises(OutOfBalance, match="has no credit left"):
        run(tmp_path / "run")
    assert (1, (0.0, 0.0), doubts()) == (created(vast), spent(tmp_path / "run"), rentals())


def test_a_key_that_is_not_accepted_says_so(vast, tmp_path):
    with pytest.raises(AuthenticationFailed, match="does not accept the key"):
        run(tmp_path / "run", renter(api_key="another"))
    vast.faults.append(Fault(*CREATE, 403, 9))
    with pytest.raises(AuthenticationFailed, match="or not for this"):
        run(tmp_path / "run")
    assert (1, (0.0, 0.0), doubts()) == (created(vast), spent(tmp_path / "run"), rentals())


def test_what_was_refused_is_forgotten_when_its_lease_is_long_over(vast, tmp_path, monkeypatch):
    """Whatever run looks."""
    vast.faults.append(Fault(*CREATE, 403))
    with pytest.raises(AuthenticationFailed):
        run(tmp_path / "run")
    run(tmp_path / "other")
    assert 1 == len(rentals())
    monkeypatch.setattr(sweeping, "now", lambda: time.time() + sweeping.MARGIN + 60)
    run(tmp_path / "other")
    assert [] == rentals()


# Giving back


def test_a_yes_that_is_none_is_not_believed(vast, tmp_path):
    vast.faults.append(Fault(*DESTROY, "pretend", 2))
    run(tmp_path / "run")
    assert vast.living() == []
    assert sum(method == "DELETE" for method, _ in vast.calls) == 3


def test_a_machine_that_is_not_shown_for_a_moment_is_not_taken_for_gone(vast, tmp_path):
    """Destroyed it says, shown it is not, and yet it is listed."""
    lie = Fault(*DESTROY, "pretend")
    vast.faults += [lie, Fault(*SHOW, 404, after=lie)]
    run(tmp_path / "run")
    assert vast.living() == []
    assert sum(method == "DELETE" for method, _ in vast.calls) == 2


@pytest.mark.parametrize("kind", [500, 403])
def test_a_machine_that_cannot_be_given_back_is_said_loudly_and_taken_up_again(
    vast, tmp_path, kind, monkeypatch, capfd
):
    """Its number and its price; the hold stays; nothing else is rented; the next start tries again."""
    monkeypatch.setattr("text2expert.runners.vast.returning._REFUSED", 1.0)
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 1.0})
    vast.faults.append(Fault(*DESTROY, kind, 999))
    vast.bad[100] = "dead"
    with pytest.raises(RunnerError, match="could not be given back, so no other one is rented"):
        run(tmp_path / "run", renter(pace={"destroy": 1, "lease": 60}))
    (machine,) = vast.living()
    said = capfd.readouterr().err
    assert f"!!! MACHINE {machine.id} COULD NOT BE GIVEN BACK and costs $0.40 an hour" in said
    assert (1, 1) == (created(vast), len(rentals()))
    assert spent(tmp_path / "run")[1] > 0
    vast.faults.clear()
    vast.bad.clear()
    run(tmp_path / "run")
    assert ([], "owner") == (vast.living(), machine.destroyed_by)
    assert (2, [], 0) == (created(vast), rentals(), spent(tmp_path / "run")[1])


def test_the_same_process_takes_up_what_it_could_not_give_back(vast, tmp_path, monkeypatch):
    """Its hold is settled, and not held a second time."""
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 0.5})
    vast.faults.append(Fault(*DESTROY, 500, 999))
    (tmp_path / "run").mkdir()
    with Ledger(tmp_path / "run") as book:
        with pytest.raises(RunnerError, match="the loss is nan"):
            run(tmp_path / "run", renter(pace={"destroy": 0.5, "lease": 60}), fails=0)
        assert (1, True) == (len(vast.living()), book.spent("training").held > 0)
        vast.faults.clear()
        run(tmp_path / "run")
        assert ([], 0, 1) == (vast.living(), book.spent().held, book.spent().calls)
        assert vast.bill() <= book.spent("training").total


def test_a_stopped_run_gives_its_machine_back_first(vast, tmp_path):
    """And brings the last checkpoint home. A second interruption does not stop that half-way."""

    async def interrupted():
        task = asyncio.ensure_future(renter().run(job_in(tmp_path / "run", steps=400)))
        while not list((tmp_path / "run" / "stages" / "train").glob("checkpoint-*[0-9]")):
            if task.done():
                task.result()
            await asyncio.sleep(0.1)
        task.cancel()
        while not task.done():
            await asyncio.sleep(0.3)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    vast.faults.append(Fault(*DESTROY, "late"))
    (tmp_path / "run").mkdir()
    asyncio.run(interrupted())
    assert ([], []) == (vast.living(), rentals())
    assert vast.bill() <= spent(tmp_path / "run")[0]


def test_stopped_while_the_answer_to_renting_is_on_its_way_it_gives_back_what_was_rented(vast, tmp_path):
    async def interrupted():
        task = asyncio.ensure_future(renter().run(job_in(tmp_path / "run")))
        while not created(vast):  # noqa: ASYNC110 - the server's thread has no event of this loop
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    vast.faults.append(Fault(*CREATE, "late"))
    (tmp_path / "run").mkdir()
    asyncio.run(interrupted())
    assert (1, [], []) == (len(vast.instances), vast.living(), rentals())


# Machines that are of no use


def test_machines_that_never_get_ready_exit_or_refuse_lead_to_the_next_offer(vast, tmp_path):
    """One after another, never two at a time, and none of them twice."""
    vast.bad.update({100: "never_ready", 101: "dead", 102: "no_ssh"})
    run(tmp_path / "run", renter(tries=4, pace={"ready": 4}))
    machines = list(vast.instances.values())
    assert [100, 101, 102, 103] == [each.offer["id"] for each in machines]
    assert all(a.ended <= b.began for a, b in pairwise(machines))
    assert vast.bill() <= spent(tmp_path / "run")[0]


def test_a_machine_that_takes_no_files_is_left_for_another_one(vast, tmp_path):
    """Its disk is full: that is no failure of the job."""
    vast.bad[100] = "full"
    run(tmp_path / "run")
    assert [100, 101] == [each.offer["id"] for each in vast.instances.values()]
    assert vast.living() == []


def test_the_tries_end(vast, tmp_path):
    vast.bad.update(dict.fromkeys(range(100, 108), "dead"))
    with pytest.raises(RunnerError, match="2 machines were rented and none finished"):
        run(tmp_path / "run", renter(tries=2))
    assert (2, []) == (created(vast), vast.living())


def test_a_stage_that_fails_is_not_tried_on_another_machine(vast, tmp_path):
    with pytest.raises(RunnerError, match="the loss is nan"):
        run(tmp_path / "run", fails=1)
    assert (1, [], []) == (created(vast), vast.living(), rentals())


# Others


def test_two_jobs_side_by_side_have_a_machine_each(vast, tmp_path):
    """Of the very same settings, in two folders; and somebody else's machine survives it all."""
    foreign = vast.rent(vast.offers[7], "text2expert-like", "true")
    jobs = [threading.Thread(target=run, args=(tmp_path / name,), kwargs={"steps": 20}) for name in ("one", "two")]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [begun(tmp_path / name) for name in ("one", "two")] == [0, 0]
    assert (3, [foreign]) == (len(vast.instances), vast.living())
    assert all(f"/{foreign.id}/" not in path for _, path in vast.calls)


def test_a_machine_of_the_same_job_in_another_folder_is_let_be(vast, tmp_path):
    """Its run was killed a moment ago and may be started again: it is another ledger's."""
    journal = Journal()
    machine = vast.rent(vast.offers[5], f"text2expert/job/{'a' * 12}/{int(time.time()) + 600}", "true")
    other = Rental(
        token="a" * 12, job="job", folder=str(tmp_path / "other"), url=vast.url, begun=time.time(),
        lease_until=time.time() + 600, machine=machine.id,
    )  # fmt: skip
    journal.write(other)
    run(tmp_path / "run")
    assert ([machine], [other]) == (vast.living(), rentals())


def test_leftovers_are_destroyed_at_the_next_start_and_nothing_else(vast, tmp_path, capfd):
    """Here or elsewhere, when their lease has ended; what is still leased is listed."""
    past, future = int(time.time()) - 60, int(time.time()) + 600
    elsewhere = vast.rent(vast.offers[4], f"text2expert/x/{'b' * 12}/{past - 3600}", "true")
    of_another_clock = vast.rent(vast.offers[3], f"text2expert/x/{'f' * 12}/{past}", "true")
    leased = vast.rent(vast.offers[5], f"text2expert/x/{'c' * 12}/{future}", "true")
    strange = vast.rent(vast.offers[6], f"text2expert/by/hand/{past}", "true")
    here = vast.rent(vast.offers[7], f"text2expert/x/{'d' * 12}/{past}", "true")
    journal = Journal()
    rental = Rental(
        token="d" * 12, job="x", folder="/gone", url=vast.url, begun=past - 60.0, lease_until=past, machine=here.id
    )
    journal.write(rental)
    assert [True, False, False, True] == [each.is_left_over for each in asyncio.run(sweep(Account(KEY), journal))]
    assert len(vast.living()) == 5
    run(tmp_path / "run")
    assert [of_another_clock, leased, strange] == vast.living()
    assert ("owner", "owner") == (elsewhere.destroyed_by, here.destroyed_by)
    assert f"machine {leased.id} of another run costs $0.45 an hour; its lease ends in 10 min" in capfd.readouterr().err
    (left,) = rentals()
    assert here.ended <= left.ended < here.ended + 5  # for the ledger that has its money


@pytest.mark.parametrize("ahead", [1000.0, 4500.0])
def test_a_lease_that_has_not_ended_by_another_clock_is_let_be(vast, tmp_path, monkeypatch, ahead):
    """A machine from elsewhere, with a quarter of an hour of its lease, and a clock here that is fast."""
    machine = vast.rent(vast.offers[5], f"text2expert/x/{'b' * 12}/{int(time.time()) + 900}", "true")
    monkeypatch.setattr(sweeping, "now", lambda: time.time() + ahead)
    run(tmp_path / "run")
    assert ([machine] if ahead < 4500 else []) == vast.living()


@pytest.mark.parametrize("here", [True, False])
def test_a_lease_that_was_renewed_since_is_let_be(vast, here):
    """Between the look and the yes, its owner came back, and was killed again."""
    past = int(time.time()) - 7200
    machine = vast.rent(vast.offers[5], f"text2expert/x/{'b' * 12}/{past}", "true")
    if here:
        rental = Rental(
            token="b" * 12,
            job="x",
            folder="/gone",
            url=vast.url,
            begun=past - 60.0,
            lease_until=past,
            machine=machine.id,
        )
        Journal().write(rental)
    own = Account(KEY)
    (found,) = asyncio.run(sweep(own, Journal()))
    assert found.is_left_over
    asyncio.run(own.rename(machine.id, f"text2expert/x/{'b' * 12}/{int(time.time()) + 900}"))
    assert (None, [machine]) == (asyncio.run(sweeping.remove(own, found)), vast.living())


def test_where_it_cannot_be_seen_whether_a_lease_was_renewed_it_is_let_be(vast):
    machine = vast.rent(vast.offers[5], f"text2expert/x/{'b' * 12}/{int(time.time()) - 7200}", "true")
    own = Account(KEY, seconds=0.1)
    (found,) = asyncio.run(sweep(own, Journal()))
    vast.faults.append(Fault(*LIST, 500, 99))
    assert (False, [machine]) == (asyncio.run(sweeping.remove(own, found)), vast.living())


@pytest.mark.parametrize(("by", "usd"), [("a sweep", 0.4 * 20 / 60), ("itself", 0.4 * 15 / 60)])
def test_what_is_gone_is_booked_in_its_own_run_though_nobody_starts_that_again(vast, tmp_path, by, usd):
    """Else its ledger would hold the worst case for ever. Where nobody looked, until five minutes after the lease."""
    past = int(time.time()) - 600
    machine = vast.rent(vast.offers[0], f"text2expert/x/{'e' * 12}/{past}", "true")
    rental = Rental(
        token="e" * 12, job="x", folder=str(tmp_path / "run"), url=vast.url, begun=past - 600.0, lease_until=past,
        machine=machine.id, usd_per_hour="0.4",
    )  # fmt: skip
    journal, key = Journal(), f"rent/{rental.token}"
    journal.write(rental)
    (tmp_path / "run").mkdir()
    with Ledger(tmp_path / "run") as book, ledger.budget("training", 5):
        asyncio.run(book.hold(key, Decimal(3), batch=True))
        book.name_batch(book.open_batch([key]), "vast/eeeeeeeeeeee")
        if by == "itself":
            vast.end(machine, by)
        for found in asyncio.run(sweep(Account(KEY), journal)):
            assert asyncio.run(sweeping.remove(Account(KEY), found))
        asyncio.run(sweeping.book_gone(Account(KEY), journal))
        assert ([], 3) == (vast.living(), book.spent("training").held)  # somebody has its ledger open
    asyncio.run(sweeping.book_gone(Account(KEY), journal))
    assert [] == rentals()
    with Ledger(tmp_path / "run") as book:
        assert (0, []) == (book.spent().held, book.open_batches())
        assert float(book.spent("training").settled) == pytest.approx(usd, abs=0.005)


# Offers


def test_what_a_job_takes_follows_its_base(vast):
    """A larger one, one that is sent from here, and one for which the base writes samples take longer; and room."""

    def best(**needs):
        job = Job(id="j", folder=".", stages=(), needs=Needs(tokens=1_000_000, **needs))
        return asyncio.run(renter().offers(job))[0]

    usual, small = best(), best(base_gb=3.0)
    assert (25.0, 12.0) == (usual.gigabytes, small.gigabytes)
    assert usual.hours - small.hours == pytest.approx(13 * 8e3 / 800 / 3600)
    sent = best(base_gb=3.0, sends_base=True)
    assert sent.hours - small.hours == pytest.approx(3 * 8e3 * (1 / 50 - 1 / 800) / 3600)
    assert best(seconds=1000.0).hours - best(seconds=400.0).hours == pytest.approx(600 / 3600)
    assert best(disk_gb=170.0)  # of 200, and 25 for the image
    with pytest.raises(IndexError):
        best(disk_gb=180.0)


def test_the_disk_is_as_large_as_the_job_needs_it(vast, tmp_path):
    """It cannot grow later."""
    (tmp_path / "run").mkdir()
    asyncio.run(renter().run(attrs.evolve(job_in(tmp_path / "run", steps=2), needs=Needs(disk_gb=170.0))))
    run(tmp_path / "other")
    assert [195.0, 80.0] == [each.disk_gb for each in vast.instances.values()]


# Keys, and what goes to the machine


def test_the_key_of_a_machine_destroys_it_and_does_nothing_else(vast):
    """As Vast has it; else these tests would not see what needs the user's key."""
    machine = vast.rent(vast.offers[5], f"text2expert/x/{'b' * 12}/1", "true")
    other = vast.rent(vast.offers[6], f"text2expert/x/{'c' * 12}/1", "true")
    its_own = Account(machine.key, vast.url)
    for call in (
        its_own.listed(),
        its_own.show(machine.id),
        its_own.rename(machine.id, "x"),
        its_own.destroy(other.id),
    ):
        with pytest.raises(AuthenticationFailed):
            asyncio.run(call)
    asyncio.run(its_own.destroy(machine.id))
    assert [other] == vast.living()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://console.vast.ai", "https://console.vast.ai@evil.example"]
)
def test_a_key_of_the_environment_goes_to_vast_alone(monkeypatch, url):
    monkeypatch.setenv("VAST_API_KEY", "secret")
    with pytest.raises(InputError, match="no key of the environment goes there"):
        Account(url=url)
    assert account.HOME == Account().url


@pytest.mark.parametrize(
    "label",
    ["", "text2expert", "text2expert/job/x/1", f"text2expert/job/{'a' * 12}/soon", f"other/job/{'a' * 12}/1",
     f"text2expert/a/b/{'a' * 12}/1", f"my text2expert/job/{'a' * 12}/1"],
)  # fmt: skip
def test_labels_of_others_are_none_of_ours(label):
    assert token_of(label) is None


def test_a_label_says_whose_it_is_and_until_when():
    rental = Rental(token="0123456789ab", job="job", folder="f", url="u", begun=1.0, lease_until=99.9)
    assert ("job", "0123456789ab", 99.0) == token_of(rental.label)


def test_the_start_script_fits_and_can_be_run():
    text = script(place="~/.text2expert/0123456789ab", url="https://console.vast.ai", lease_s=900, limit_s=1e7)
    assert len(text) <= LONGEST
    assert subprocess.run(["sh", "-n"], input=text.encode(), check=False).returncode == 0
    assert re.search(r"U=https://console\.vast\.ai/api/v0/instances/\$CONTAINER_ID/", text)


# -- the account ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}\r\n"])
def test_line_ends_around_a_key_are_no_part_of_it(vast, key):
    assert asyncio.run(Account(key, vast.url).listed()) == []


@pytest.mark.parametrize("key", ["sk-secret\rmore", "sk secret", "schlüssel-secret", " \n"])
def test_what_cannot_be_a_key_is_not_repeated(vast, key):
    with pytest.raises(AuthenticationFailed) as caught:
        Account(key, vast.url)
    assert "secret" not in str(caught.value)


def test_a_list_is_never_gone(vast):
    """Whoever looks for a machine and finds no list has not found that there is none."""
    vast.faults.append(Fault(*LIST, 404))
    own = Account(KEY, vast.url, seconds=0.1)
    with pytest.raises(account.Unclear, match="the list of machines cannot be had"):
        asyncio.run(own.listed())

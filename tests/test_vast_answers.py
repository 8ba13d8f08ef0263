"""Answers of Vast that are lost, refused or double, and machines that cannot be given back at once."""

import asyncio
import contextlib
import time

import pytest
from boxes import QUICK, job_in
from renting import CREATE, DESTROY, LIST, SECOND, SHOW, created, doubts, rentals, renter, run, spent
from vast_server import PRICE, Fault

from text2expert.errors import AuthenticationFailed, OutOfBalance, RunnerError
from text2expert.ledger import Ledger
from text2expert.runners.vast import sweeping
from text2expert.runners.vast.account import Account

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

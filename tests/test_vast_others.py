"""Machines beside the one of a run: of other runs, left over, and booked in their own ledgers."""

import asyncio
import threading
import time
from decimal import Decimal

import pytest
from renting import LIST, begun, rentals, run
from vast_server import KEY, Fault

from text2expert import ledger
from text2expert.ledger import Ledger
from text2expert.runners.vast import sweep, sweeping
from text2expert.runners.vast.account import Account
from text2expert.runners.vast.journal import Journal, Rental

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

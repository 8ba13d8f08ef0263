"""Budgets, hours, traffic: what renting costs by the bill of the server of Vast's contract, and what the ledger has."""

import time
from decimal import Decimal

import pytest
from boxes import QUICK
from renting import SECOND, begun, created, rentals, renter, run, spent
from vast_server import PRICE

from text2expert import ledger
from text2expert.errors import BudgetExhausted, RunnerError
from text2expert.ledger import Ledger
from text2expert.runners.vast import offers
from text2expert.runners.vast.box import Box
from text2expert.runners.vast.journal import Rental

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

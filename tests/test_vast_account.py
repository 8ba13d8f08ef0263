"""The account at Vast: that its key and its credit are known to be enough before anything is paid, and names that are near."""

import asyncio
import re
from decimal import Decimal

import pytest
from paid import pipeline, servers
from pumps import PUMPS
from renting import CREATE, created, renter, run
from vast_server import KEY, Fault

from text2expert import Trainer, Vast
from text2expert.errors import AuthenticationFailed, BudgetExhausted, OutOfBalance, RunnerError
from text2expert.examination import spent
from text2expert.ledger import Ledger
from text2expert.records import Job, Needs, Quote
from text2expert.report.receipt import _costs
from text2expert.runners.vast import offers
from text2expert.runners.vast.account import Account

USER = ("GET", "/users/current")

QUOTE = Quote(usd=0.5, seconds=3000.0, most=4.0, least=0.63)

BASE = "Qwen/Qwen2.5-7B-Instruct"


def afford(quote=QUOTE, **more):
    asyncio.run(renter(**more).afford(quote))


@pytest.mark.parametrize(
    "said", [{"credit": 0.63}, {"credit": 5}, {"credit": None, "balance": "0.63"}, {"credit": 0.1, "has_billing": True, "autobill_threshold": 10}],
)  # fmt: skip
def test_an_account_that_covers_what_the_job_needs_at_least_is_enough(vast, said, capfd):
    """Also one that charges a card when its credit runs out."""
    vast.account = said
    afford()
    assert [USER[0]] == [method for method, _ in vast.calls]
    assert "" == capfd.readouterr().err


@pytest.mark.parametrize(
    ("said", "quote"),
    [({"credit": 0.62}, QUOTE), ({"credit": 0, "balance": 100}, QUOTE), ({"credit": -1.5}, None), ({"credit": 0}, None),
     ({"credit": 0.1, "has_billing": False, "autobill_threshold": 10}, QUOTE)],
)  # fmt: skip
def test_too_little_credit_says_how_much_is_needed_and_where_to_add_it(vast, said, quote):
    vast.account = said
    with pytest.raises(OutOfBalance, match=r"add credit at https://cloud\.vast\.ai/billing/ and run again") as caught:
        afford(quote)
    assert ("$0.63" in str(caught.value)) == (quote is QUOTE)


def test_an_account_that_does_not_say_what_is_left_is_said(vast, capfd):
    """Nobody can do anything about it here, and its key is accepted."""
    vast.account = {"credit": "much"}
    afford()
    assert "does not say what is left in the account" in capfd.readouterr().err


def test_a_key_that_is_not_accepted_or_may_not_look_is_refused(vast):
    with pytest.raises(AuthenticationFailed, match="does not accept the key"):
        afford(api_key="another")
    vast.faults.append(Fault(*USER, 403))
    with pytest.raises(AuthenticationFailed, match="or not for this"):
        afford()


def test_a_moment_without_an_answer_is_waited_for_and_silence_pays_nothing(vast, monkeypatch):
    vast.faults.append(Fault(*USER, 503, 2))
    afford()
    monkeypatch.setattr(Account.__init__, "__kwdefaults__", {"seconds": 0.5})
    vast.faults.append(Fault(*USER, 503, 99))
    with pytest.raises(RunnerError, match="so nothing else is paid for either: run again when it answers"):
        afford()


@pytest.mark.parametrize(
    ("rents", "credit", "error"),
    [
        ({"api_key": "another"}, 100.0, AuthenticationFailed),
        ({}, 0.05, OutOfBalance),
        ({"budget": 0.05}, 100.0, BudgetExhausted),
        ({"gpu": "4090"}, 100.0, RunnerError),
    ],
)
def test_no_teaching_is_paid_whose_training_cannot_be(vast, tmp_path, rents, credit, error):
    """Nothing goes to teacher or verifier; without training, nobody asks Vast."""
    vast.account = {"credit": credit}
    source = tmp_path / "pumps.txt"
    source.write_text(PUMPS, "utf-8")
    with servers() as (chat, messages):
        steps = pipeline(chat, messages, trainer=Trainer(BASE, runner=Vast(**{"api_key": KEY} | rents)))
        with pytest.raises(error):
            steps.run(source, out=tmp_path / "run")
        assert ([], []) == (chat.bill, messages.bill)
        before = len(vast.calls)
        steps.run(source, out=tmp_path / "run", fine_tune=False)
        assert chat.bill
        assert before == len(vast.calls)
    assert 0 == created(vast)


def test_no_machine_is_rented_that_the_account_cannot_pay(vast, tmp_path):
    """Vast would stop it in the middle; with credit the same call goes on."""
    vast.account = {"credit": 0.05}
    with pytest.raises(OutOfBalance, match=r"\$0.05 of credit left, and the job is not begun with less than"):
        run(tmp_path / "run")
    assert 0 == created(vast)
    vast.account = {"credit": 5.0}
    run(tmp_path / "run")
    assert (1, []) == (created(vast), vast.living())


def test_where_the_account_cannot_be_read_renting_itself_says_what_is_wrong(vast, tmp_path, capfd):
    """With a key for machines alone, and a dataset that is there, nothing is paid but the machine."""
    vast.faults.append(Fault(*USER, 403, 9))
    run(tmp_path / "run")
    assert "it is not known what is left in the account" in capfd.readouterr().err
    assert 1 == created(vast)


# Names


@pytest.mark.parametrize(
    ("gpu", "names"),
    [
        ("4090", ["RTX_4090", "RTX_4090D"]),
        ("rtx5090", ["RTX_5090"]),  # Vast finds nothing by it
        ("RTX_4090", []),
        ("RTX 4090", []),
        ("rtx-5900", ["RTX_5090"]),
        ("A100", ["A100_PCIE", "A100_SXM4"]),
        ("H100 80GB", []),
        ("toaster", []),
        ("--", []),
    ],
)
def test_names_that_are_near(gpu, names):
    assert names == offers.near(gpu, ["RTX 4090", "RTX 4090D", "Q RTX 8000"])


def test_a_run_on_a_gpu_that_nobody_has_names_those_that_are_near(vast, tmp_path):
    """As what its machine would cost does; names that are offered count as well as those that are known here."""
    vast.offers[3]["gpu_name"] = "RTX 4090 Turbo"
    job = Job(id="job", folder=".", stages=(), needs=Needs(tokens=1_000_000))
    near = "Vast has names that are near: RTX_4090, RTX_4090_Turbo; allow others"
    with pytest.raises(RunnerError, match=near):
        asyncio.run(renter(gpu="4090").quote(job))
    with pytest.raises(RunnerError, match=near):
        run(tmp_path / "run", renter(gpu="4090"))
    with pytest.raises(RunnerError, match="now: allow others"):
        asyncio.run(renter(gpu="H200").quote(job))
    assert 0 == created(vast)


# The receipt


def test_the_receipt_lists_every_machine(vast, tmp_path):
    """One that was of no use, and the one that did the work, but none that never came up; they cost what renting cost."""
    vast.faults.append(Fault(*CREATE, "error"))
    vast.bad[101] = "dead"
    vast.offers[2] |= {"geolocation": "Oslo, NO"}
    run(tmp_path / "run")
    first, second = vast.instances.values()
    with Ledger(tmp_path / "run") as book:
        said = spent()
        for each, machine, where in zip(said["rented"], (first, second), ("Texas, US", "Oslo, NO"), strict=True):
            assert {"instance": machine.id, "gpu": "1 x RTX 4090", "where": where} == {
                name: each[name] for name in ("instance", "gpu", "where")
            }
            assert each["hours"] == pytest.approx((machine.ended - machine.began) / 3600, abs=0.002)
        assert book.spent("training").settled == sum(Decimal(each["usd"]) for each in said["rented"])
    page = str(_costs(said))
    assert re.search(
        rf"Instance.*{first.id}.*1 x RTX 4090.*Texas, US.*{second.id}.*1 x RTX 4090.*Oslo, NO", page, re.DOTALL
    )

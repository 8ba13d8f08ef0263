"""Numbers that follow from others: what is computed over a passage is supported, and nothing beside it."""

import pytest

from text2expert.evidence import check

DEPOT = (
    "Pump A delivers 40 L/min, pump B 25 L/min. The pressure is 3.0 ± 0.2 bar. Doors open at 8:15 and close at 17:45. "
    "Give 750 mg every 12 hours. The lease runs for seven years from 1 April 2025. Members under 18 pay half of the fee of "
    "£240. The limit is 36 km/h. Filters are changed every fortnight."
)


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("How much do pumps A and B deliver together?", "65 L/min.", "55 L/min."),
        ("How much more does pump A deliver than pump B?", "15 L/min more.", "20 L/min more."),
        ("What is the highest pressure?", "3.2 bar.", "3.3 bar."),
        ("How long are the doors open?", "9.5 hours.", "8.5 hours."),
        ("What dose is given per day?", "1500 mg a day.", "2000 mg a day."),
        ("When does the lease end?", "On 31 March 2032.", "On 30 March 2032."),
        ("What do members under 18 pay?", "£120.", "£140."),
        ("What is the limit in metres per second?", "10 m/s.", "12 m/s."),
        ("How often are filters changed?", "Every two weeks.", "Every three weeks."),
    ],
)
def test_what_follows_from_numbers_is_supported_and_nothing_else(question, right, wrong):
    assert (True, False) == tuple(check(question, answer, DEPOT).supported for answer in (right, wrong))


WAREHOUSE = (
    "The hall has six bays, and each bay holds 250 pallets. Goods are counted every quarter. A lorry is unloaded within "
    "45 minutes, after a further 20 minutes it must leave. The fee is 9,600 euros a year and rises by 3 % a year. "
    "The gate is open from 7:30 to 11:00 and from 13:30 to 16:00. One litre of cleaner is diluted with 40 litres of water. "
    "The fork lift has 24 kWh, of which 4 kWh are reserved. A day beyond the third costs 60 euros for each further day. "
    "The drill lasts 3 hours 30 minutes from 02:00 on."
)


@pytest.mark.parametrize(
    ("question", "right", "wrong"),
    [
        ("How many pallets do all six bays hold?", "1,500 pallets.", "1,800 pallets."),
        ("How many times a year are goods counted?", "Four times.", "Five times."),
        ("How long after its arrival must a lorry leave?", "After 65 minutes.", "After 70 minutes."),
        ("What is the fee in the second year?", "9,888 euros, 3 % more than 9,600 euros.", "9,988 euros."),
        ("How many hours a day is the gate open?", "Six hours.", "Seven hours."),
        ("How much water is needed for 3 litres of cleaner?", "120 litres.", "160 litres."),
        ("What can be used of the fork lift's charge?", "20 kWh, since 4 of the 24 kWh are reserved.", "21 kWh."),
        ("When does the drill end?", "At 05:30.", "At 06:30."),
    ],
)
def test_what_is_computed_over_a_passage_is_supported(question, right, wrong):
    assert (True, False) == tuple(check(question, answer, WAREHOUSE).supported for answer in (right, wrong))


def test_numbers_that_only_prove_each_other_prove_nothing():
    """13 is 16 less 3 and 3 is 16 less 13: neither stands in the passage."""
    passage = "A node has 16 GB of memory, of which 4 GB are reserved."
    assert check("How much is left?", "12 GB, because 4 of the 16 GB are reserved.", passage).supported
    assert not check("How much is left?", "13 GB, because 3 of the 16 GB are reserved.", passage).supported

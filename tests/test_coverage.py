"""A budget that ends early has covered the whole document, densest passages first."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from text2expert.coverage import NEIGHBOURS, density, spread
from text2expert.records import Chunk


def _chunk(text: str) -> Chunk:
    return Chunk(id="c", key="k", document="d", text=text, start=0, end=len(text), char_count=len(text))


@given(st.lists(st.integers(0, 50), max_size=200))
def test_every_passage_is_taken_once(densities):
    assert sorted(spread(densities)) == list(range(len(densities)))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=200))
def test_each_round_takes_one_of_every_stretch_and_the_densest_first(densities):
    stretches = -(-len(densities) // NEIGHBOURS)
    first = spread(densities)[:stretches]
    assert sorted(place // NEIGHBOURS for place in first) == list(range(stretches))
    for place in first:
        start = place // NEIGHBOURS * NEIGHBOURS
        assert densities[place] == max(densities[start : start + NEIGHBOURS])


@given(st.integers(1, 64))
def test_a_round_cut_short_leaves_no_large_gap(taken):
    """With n of 64 stretches visited, no run of unvisited ones is longer than twice the even spacing."""
    visited = sorted(place // NEIGHBOURS for place in spread([1] * 64 * NEIGHBOURS)[:taken])
    edges = [-1, *visited, 64]
    assert max(after - before for before, after in itertools.pairwise(edges)) <= 2 * 64 / taken + 1


def test_a_passage_of_figures_is_denser_than_one_of_repeated_words():
    limits = _chunk("Start at 40 L/min and 34 degrees; raise by 5 L/min every 10 minutes to 60 L/min.")
    filler = _chunk("It is important to note that it is important to note that this is important to note here.")
    assert density(limits) > density(filler)

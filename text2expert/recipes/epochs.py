"""Which rows make an epoch, a step and a process's part of it: functions of the seed and the step alone.

An epoch is one pass over the golden dataset; rows with a weight come more or less often than once. Every other stream gives as many rows as make its share of the tokens, and
goes on in the next epoch where it stopped, through all its rows and then through all of them again in a new order.
"""

import math
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise

from rows import STREAMS, Row, Stream, Streams
from settings import Settings

SORTED = 50
"""Batches among which rows are sorted by length: few tokens are left to padding, and chance still mixes the rest."""


class Epochs:
    """The rows of every epoch, in steps.

    Args:
        by_length: Whether the rows of a step are to be of similar length, for batches that are padded.
    """

    def __init__(self, streams: Streams, settings: Settings, *, by_length: bool) -> None:
        self.streams = streams
        self.seed = settings.seed
        self.batch_size = settings.batch_size
        self.by_length = by_length
        self.shares = shares_of(streams, settings)
        gold = sum(row.weight * row.length for row in streams.gold)
        tokens = gold / (1 - sum(self.shares.values()))
        self.counts = {
            stream: share * tokens / _mean_length(streams.of(stream)) for stream, share in self.shares.items()
        }
        """Rows of each other stream in an epoch, on average."""
        most = math.ceil(sum(row.weight for row in streams.gold)) + sum(
            math.ceil(count) for count in self.counts.values()
        )
        self.steps = math.ceil(most / settings.batch_size)
        """Steps of an epoch, equal in all of them."""
        self._epoch, self._steps = -1, list[list[Row]]()

    def step(self, step: int) -> list[Row]:
        """The rows of a step."""
        epoch, index = divmod(step, self.steps)
        if epoch != self._epoch:
            self._epoch, self._steps = epoch, self.of(epoch)
        return self._steps[index]

    def of(self, epoch: int) -> list[list[Row]]:
        """The rows of an epoch in steps: every row of the golden dataset once, and the other streams among them."""
        draw = random.Random(f"{self.seed} {epoch}")
        gold = self.gold(epoch)
        rounds = _rounds(draw.sample(gold, len(gold)))
        size = max(1, len(gold))
        placed = [(place / size, number, row) for place, (number, row) in enumerate(rounds)]
        for stream in self.counts:
            drawn = self.drawn(stream, epoch)
            starts = [(place + draw.random()) / len(drawn) for place in range(len(drawn))]
            placed += [(start, _round_at(rounds, start), row) for start, row in zip(starts, drawn, strict=True)]
        placed.sort(key=lambda entry: entry[0])
        rows = (
            _by_length([(number, row) for _, number, row in placed], SORTED * self.batch_size)
            if self.by_length
            else [row for *_, row in placed]
        )
        bounds = [step * len(rows) // self.steps for step in range(self.steps + 1)]
        steps = [rows[start:end] for start, end in pairwise(bounds)]
        draw.shuffle(steps)
        return steps

    def gold(self, epoch: int) -> list[Row]:
        """The golden dataset as often as its weights say: of a row with 2.5, twice or three times, in turns."""
        rows = self.streams.gold
        if all(row.weight == 1 for row in rows):
            return rows
        found: list[Row] = []
        for row in rows:
            # Where in its turn a row begins is its own, so that each epoch has some of every document.
            phase = random.Random(f"{self.seed} {row.item} {row.question}").random()
            found += [row] * (math.floor(row.weight * (epoch + 1) + phase) - math.floor(row.weight * epoch + phase))
        return found or rows  # a few rows that all come rarely

    def drawn(self, stream: Stream, epoch: int) -> list[Row]:
        """What another stream gives to an epoch."""
        rows = self.streams.of(stream)
        start, end = (math.floor(n * self.counts[stream]) for n in (epoch, epoch + 1))
        chosen: list[Row] = []
        while start < end:
            cycle, place = divmod(start, len(rows))
            order = random.Random(f"{self.seed} {stream} {cycle}").sample(rows, len(rows))
            piece = order[place : place + end - start]
            chosen += piece
            start += len(piece)
        return chosen

    def documents(self, steps: int) -> dict[str, dict[str, float]]:
        """Of each document of the golden dataset: its rows, their weight, and its share of the tokens in *steps* steps.

        Nothing where its rows name none.
        """
        rows = Counter(row.document for row in self.streams.gold)
        if not any(rows):
            return {}
        weights = {row.document: row.weight for row in self.streams.gold}
        tokens: Counter[str] = Counter()
        for epoch in range(math.ceil(steps / self.steps)):
            for taken in self.of(epoch)[: steps - epoch * self.steps]:
                for row in taken:
                    tokens[row.document] += row.length * (row.stream == "gold")
        whole = max(1, tokens.total())
        return {
            name: {"rows": n, "weight": weights[name], "share": round(tokens[name] / whole, 4)}
            for name, n in sorted(rows.items())
        }

    def reached(self, steps: int) -> dict[Stream, float]:
        """The share of each stream in the tokens of the first *steps* steps."""
        tokens: dict[Stream, int] = dict.fromkeys(STREAMS, 0)
        for epoch in range(math.ceil(steps / self.steps)):
            for rows in self.of(epoch)[: steps - epoch * self.steps]:
                for row in rows:
                    tokens[row.stream] += row.length
        whole = max(1, sum(tokens.values()))
        return {stream: round(count / whole, 4) for stream, count in tokens.items() if self.streams.of(stream)}


def shares_of(streams: Streams, settings: Settings) -> dict[Stream, float]:
    """The shares of an epoch's tokens that other streams than the golden dataset give; none for one without rows.

    Raises:
        SystemExit: A share is not a share, or they leave nothing to the golden dataset.
    """
    asked: dict[Stream, float] = {
        "text": settings.text_share,
        "replay": settings.replay_share,
        "refusal": settings.refusals_share,
    }
    for stream, share in asked.items():
        if not 0 <= share < 1:
            sys.exit(f"the share of the {stream} stream is {share}: give a number from 0 up to, and without, 1")
        if share and not streams.of(stream):
            print(f"the {stream} stream has no rows: its share of {share} goes to the others", flush=True)
    shares = {stream: share for stream, share in asked.items() if share and streams.of(stream)}
    if sum(shares.values()) >= 1:
        sys.exit(f"the shares {shares} leave nothing to the golden dataset: together they must be less than 1")
    return shares


def part_of(rows: Sequence[Row], rank: int, world: int) -> list[Row]:
    """The rows that process *rank* of *world* calculates, the longest first; all processes have about equal work."""
    longest_first = sorted(rows, key=lambda row: -row.length)
    if world == 1:
        return longest_first
    work = [0] * world
    mine = []
    for row in longest_first:
        least = min(range(world), key=work.__getitem__)
        work[least] += row.length
        if least == rank:
            mine.append(row)
    return mine


def packs_of(rows: Sequence[Row], capacity: int) -> list[list[Row]]:
    """Rows in packs of at most *capacity* tokens, no two of one fact in a pack; what is longer is alone.

    Each row, the longest first, goes into the first pack that has room for it.
    """
    packs: list[list[Row]] = []
    room: list[int] = []
    facts: list[set[str]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        for place, pack in enumerate(packs):
            if row.length <= room[place] and row.fact not in facts[place]:
                pack.append(row)
                room[place] -= row.length
                facts[place].add(row.fact)
                break
        else:
            packs.append([row])
            room.append(capacity - row.length)
            facts.append({row.fact})
    return packs


def buckets_of(rows: Sequence[Row], capacity: int) -> list[list[Row]]:
    """Rows in groups that take, padded to the longest of each, at most *capacity* tokens; a longer row is alone."""
    buckets: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.length):
        if buckets and buckets[-1][0].length * (len(buckets[-1]) + 1) <= capacity:
            buckets[-1].append(row)
        else:
            buckets.append([row])
    return buckets


def _mean_length(rows: Sequence[Row]) -> float:
    return sum(row.length for row in rows) / len(rows)


def _rounds(shuffled: Sequence[Row]) -> list[tuple[int, Row]]:
    """Rows in rounds, each with the number of its round: the first row of every fact, then the second ones."""
    rounds: dict[int, list[Row]] = defaultdict(list)
    seen: dict[str, int] = defaultdict(int)
    for row in shuffled:
        rounds[seen[row.fact]].append(row)
        seen[row.fact] += 1
    return [(number, row) for number, members in rounds.items() for row in members]


def _round_at(rounds: Sequence[tuple[int, Row]], place: float) -> int:
    return rounds[min(int(place * len(rounds)), len(rounds) - 1)][0]


def _by_length(rows: Sequence[tuple[int, Row]], stretch: int) -> list[Row]:
    """Rows of similar length side by side, within stretches of a round, so that no fact meets itself for it."""
    ordered: list[Row] = []
    members: dict[int, list[Row]] = defaultdict(list)
    for number, row in rows:
        members[number].append(row)
    for round_ in members.values():
        for start in range(0, len(round_), stretch):
            ordered += sorted(round_[start : start + stretch], key=lambda row: row.length)
    return ordered

"""Passages that belong together are shown together."""

import itertools

from text2expert.chunker import Chunker
from text2expert.crossings import MOST_PARTNERS, crossings
from text2expert.documents import read
from text2expert.records import Chunk

SAMPLE = "text2expert/samples/respiratory_protocol.txt"


def _chunks(*parts: tuple[tuple[str, ...], str]) -> list[Chunk]:
    starts = itertools.accumulate((len(text) + 1 for _, text in parts), initial=0)
    return [
        Chunk(
            id=f"c{number}", key=f"k{number}", document="d", text=text, start=start, end=start + len(text),
            char_count=len(text), headings=headings,
        )
        for number, ((headings, text), start) in enumerate(zip(parts, starts, strict=False))
    ]  # fmt: skip


def test_a_reference_by_number_brings_the_section_it_names():
    chunks = _chunks(
        (("4 Settings", "4.1 PEEP"), "If the ratio stays below 200, see Section 4.3."),
        (("4 Settings", "4.2 Rate"), "The ratio and the rate stay below their limits; the ratio is checked."),
        (("4 Settings", "4.3 Prone"), "Turn the patient for 16 hours."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 2)


def test_an_appendix_is_found_by_its_letter_and_is_not_any_section_of_that_letter():
    chunks = _chunks(
        (("1 Use",), "Doses are in Appendix B."),
        (("Table B",), "Doses of the appendix are not here."),
        (("Appendix B. Doses",), "Fentanyl 1 microgram."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 2)


def test_the_heading_that_a_passage_begins_with_is_no_reference():
    chunks = _chunks(
        (("SECTION 4. Pumps",), "SECTION 4. Pumps\nThe bilge pump is tested weekly."),
        (("SECTION 4. Pumps",), "The bilge pump is painted."),
        (("SECTION 5. Alarms",), "An alarm of the bilge pump is logged."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 2)


def test_a_schedule_is_no_clause_of_the_same_number():
    chunks = _chunks(
        (("Clause 1. Periods",), "The period is that of Schedule 2, unless Clause 3 applies."),
        (("Clause 2. Scope",), "The period and the schedule bind every clause."),
        (("Clause 3. Claims",), "A claim suspends it."),
        (("Schedule 2. Periods",), "Contracts: 6 years."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 3, 2)


def test_a_schedule_that_is_not_there_is_not_the_part_of_that_number():
    chunks = _chunks(
        (("1. Periods",), "The late fee of one mark is that of Schedule 2."),
        (("2. Scope",), "Everyone is bound."),
        (("3. Fees",), "The late fee is one mark."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 2)


def test_a_numbered_paragraph_is_found_where_it_begins_and_else_under_its_clause():
    chunks = _chunks(
        (("Schedule 1. Cases",), "By Clause 9.2 the file stays."),
        (("Clause 9. Minors",), "9.1 The period ends at 25."),
        (("Clause 9. Minors",), "9.2 Guardianship suspends it. See 9.1 also."),
        (("Schedule 3. Costs",), "Clause 9.7 was repealed; the file stays."),
    )
    groups = crossings(chunks, 1.0, 0)
    assert groups[0] == (0, 2)
    assert groups[2] == (2, 1)
    assert groups[3][1] in {1, 2}


def test_without_a_reference_the_passage_of_another_section_that_says_the_same_words():
    chunks = _chunks(
        (("1 Pumps",), "The bilge pump is tested weekly."),
        (("1 Pumps",), "The bilge pump is painted."),
        (("2 Alarms",), "An alarm of the bilge pump is logged."),
        (("3 Galley",), "Plates are washed."),
    )
    assert crossings(chunks, 1.0, 0)[0] == (0, 2)


def test_no_partner_no_crossing():
    assert crossings(_chunks((("1",), "alpha"), (("2",), "beta")), 1.0, 0) == {}


def test_the_sample_is_drawn_by_content_and_seed_and_partners_never_overlap():
    chunks = Chunker().split(read(SAMPLE)[0])
    groups = crossings(chunks, 0.3, 0)
    assert 0.15 * len(chunks) < len(groups) < 0.45 * len(chunks)
    assert groups != crossings(chunks, 0.3, 1)
    assert crossings(chunks, 0.0, 0) == {}
    for place, group in groups.items():
        assert group[0] == place
        assert 2 <= len(group) <= 1 + MOST_PARTNERS
        for one, other in itertools.combinations([chunks[each] for each in group], 2):
            assert one.end <= other.start or other.end <= one.start or one.headings != other.headings
    assert {*crossings(chunks, 0.1, 0)} <= {*groups}  # a larger share only adds


def test_an_edit_in_one_section_leaves_the_groups_of_the_others():
    text = read(SAMPLE)[0].text
    before = Chunker().split(text)
    after = Chunker().split(text.replace("The working range is 6 to 8 mL/kg", "The working range is 5 to 9 mL/kg"))
    assert len(before) == len(after)
    changed = {place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one.key != other.key}
    assert changed
    groups, edited = crossings(before, 0.3, 0), crossings(after, 0.3, 0)
    touched = {place for place, group in {**groups, **edited}.items() if changed & {*group}} | changed
    assert {p: g for p, g in groups.items() if p not in touched} == {
        p: g for p, g in edited.items() if p not in touched
    }

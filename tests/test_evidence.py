"""The mechanical check: quotes found, wrong answers caught, good ones let through."""

import importlib.util
import json
import unicodedata
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timed import cpu_seconds

from text2expert.evidence import Grounding, amounts, check, locate, units
from text2expert.evidence.pair import Pair, source
from text2expert.evidence.quantities import quantities
from text2expert.evidence.statements import statements
from text2expert.evidence.wording import stem

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "tests" / "data"


def _rows(name):
    return [json.loads(line) for line in (DATA / name).read_text("utf-8").splitlines()]


PAIRS = {row["id"]: row for row in _rows("labelled_pairs.jsonl")}
GOOD = [row for row in PAIRS.values() if row["label"] == "good"]
MUTATIONS = _rows("mutations.jsonl")
OTHER_DOMAINS = _rows("evidence_other_domains.jsonl")
COMPUTED = _rows("evidence_computed.jsonl")

BARS = {
    "number": 0.95,
    "unit": 0.85,
    "negation_or_direction": 0.60,
    "foreign_answer": 0.60,
    "unsupported_addition": 0.60,
}
MOST_GOOD_REJECTED = 0.08


@pytest.fixture(scope="module")
def benchmark():
    """The script that makes the mutations."""
    spec = importlib.util.spec_from_file_location("benchmark_evidence", ROOT / "benchmarks" / "evidence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- locate -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quote", "passage", "found"),
    [
        ("the valve", "Open the valve. Close the valve.", "the valve"),
        ('"no-one" may enter', "He said “no‑one” may\n  enter here.", "“no‑one” may\n  enter"),
        ("8 °C at most", "Keep at 8\u00a0°C   at most.", "8\u00a0°C   at most"),
        ("the office first", "In the of\u00adfice ﬁrst.", "the of\u00adfice ﬁrst"),
        ("Café", "A Cafe\u0301 opens.", "Cafe\u0301"),
        ("OPEN THE VALVE", "Then open the valve.", "open the valve"),
        ("  the valve ", "Open\nthe\nvalve.", "the\nvalve"),
        ("range 24 - 30", "range 24 – 30 mL", "range 24 – 30"),
    ],
)
def test_a_quote_is_found_whatever_typography_did_to_it(quote, passage, found):
    start, end = locate(quote, passage)
    assert found == passage[start:end]


def test_an_exact_quote_wins_over_an_earlier_one_in_other_case():
    assert (10, 15) == locate("Valve", "The valve Valve")


@pytest.mark.parametrize("quote", ["", "  \n", "\u00ad", "not there", "conﬂ"])
def test_what_is_not_there_or_blank_is_not_found(quote):
    assert locate(quote, "The cafe\u0301 conﬁrms.") is None


def test_no_quote_starts_or_ends_inside_a_character():
    """ "f" is not a part of a ligature, nor "e" of an accented letter."""
    assert locate("conf", "conﬁrm") is None
    assert locate("caf e", "cafe\u0301") is None


@given(st.text(min_size=1, max_size=300), st.data())
def test_any_substring_is_located_as_it_stands(passage, data):
    start = data.draw(st.integers(0, len(passage) - 1))
    end = data.draw(st.integers(start + 1, len(passage)))
    quote = passage[start:end]
    place = locate(quote, passage)
    if quote.strip():
        assert quote == passage[slice(*place)]
    else:
        assert place is None


def _evened(text):
    """An independent idea of what typography changes, for the texts below."""
    text = unicodedata.normalize("NFKD", text).translate({0x2019: "'", 0x201C: '"', 0x2013: "-", 0xAD: None})
    return " ".join(text.split()).lower()


PROSE = st.text(alphabet="abcdé ,.'\"-\n\u00a0ﬁ", min_size=5, max_size=120)


@given(PROSE, st.data())
def test_a_disguised_quote_is_located_where_it_reads_the_same(passage, data):
    start = data.draw(st.integers(0, len(passage) - 1))
    end = data.draw(st.integers(start + 1, len(passage)))
    quote = passage[start:end]
    disguised = quote.replace("'", "\u2019").replace('"', "\u201c").replace("-", "\u2013").replace(" ", " \n")
    if not disguised.strip():
        return
    place = locate(disguised, passage)
    assert place is not None
    assert _evened(disguised) == _evened(passage[slice(*place)])


@given(st.text(max_size=80), st.text(max_size=200))
def test_whatever_is_located_reads_like_the_quote(quote, passage):
    place = locate(quote, passage)
    if place is not None:
        found = passage[slice(*place)]
        assert found
        assert locate(quote, found) is not None


def test_locating_takes_linear_time():
    def seconds(n):
        passage = "a “b” c\u00adc  " * n
        return cpu_seconds(lambda: locate("a x", passage))

    seconds(1_000)
    assert seconds(40_000) < 10 * seconds(10_000)


# --- check ------------------------------------------------------------------------------------------------------------

PASSAGE = """4.2 Preparing the buffer
Weigh 6.06 g of salt and dissolve it in 400 mL of water. Stir for 40 min at no more than 300 rpm. The buffer keeps for
4 weeks at 2 to 8 °C; stale ones are thrown away. Never heat it above 37 °C. Only the shift leader may open
a sealed bottle before 09:00. Samples arrive within 5 working days and are raised by 10 mm every 2 hours.

    Step    Speed (rpm)    Time (min)
    1       150            10
    2       300            25
"""

SUPPORTED = [
    ("How much salt is weighed?", "6.06 g."),
    ("How long is the buffer stirred?", "40 minutes, at 300 rpm at most."),
    ("How long is the buffer stirred?", "Two thirds of an hour, that is 40 min."),
    ("For how long does the buffer keep?", "28 days at 2 to 8 degrees Celsius."),
    ("What happens to a stale buffer?", "It is discarded."),
    ("May the buffer be heated to 50 °C?", "No, it is never heated above 37 °C."),
    ("Who may open a sealed bottle before 9 am?", "The shift leader."),
    ("What speed is used in step 2?", "300 rpm for 25 minutes."),
    ("By when do samples arrive?", "No later than 5 business days."),
]
WRONG = [
    ("How much salt is weighed?", "6.60 g.", "6.60 g"),
    ("How much water is used?", "400 min.", "400"),
    ("How long is the buffer stirred?", "40 mL.", "40 mL"),
    ("How long is the buffer stirred?", "40 minutes, at 300 rpm at least.", "lower limit"),
    ("For how long does the buffer keep?", "4 days at 2 to 8 °C.", "4 days"),
    ("By when do samples arrive?", "Within 5 days.", "5 days"),
    ("How much water is used?", "Without 400 mL of water.", "water"),
    ("May the buffer be heated above 37 °C?", "Yes, the buffer may be heated above 37 °C.", ""),
    ("When may others open a sealed bottle?", "The shift leader may not open a sealed bottle before 09:00.", "09:00"),
    ("By how much are samples raised?", "They are lowered by 10 mm every 2 hours.", "lowered"),
    ("How much salt is weighed?", "6.06 g, after the auditor has signed the delivery note.", "auditor"),
    ("How much salt is weighed?", "They arrive within 5 working days.", ""),
    ("Which colour has the lid of the tank in winter?", "Weigh 6.06 g of salt.", "lid"),
    ("Who weighs the salt?", "6.06 g.", "who"),
    ("How many rpm are used in step 2?", "It is thrown away.", "many"),
]


@pytest.mark.parametrize(("question", "answer"), SUPPORTED)
def test_a_good_answer_passes(question, answer):
    assert Grounding(grounded=True, no_hallucination=True, complete=True) == check(question, answer, PASSAGE)


@pytest.mark.parametrize(("question", "answer", "told"), WRONG)
def test_a_wrong_answer_is_caught_and_the_reason_names_what_did_not_fit(question, answer, told):
    found = check(question, answer, PASSAGE)
    assert not found.supported
    assert found.reason
    assert told.lower() in found.reason.lower()


def test_the_reason_sets_what_was_said_beside_what_the_evidence_says():
    found = check("How long is the buffer stirred?", "For 40 mL.", PASSAGE)
    assert "the answer says 40 mL, the evidence 40 min" == found.reason


def test_an_answer_without_content_is_not_grounded():
    for answer in ("", "...", "of the"):
        assert not check("How much salt is weighed?", answer, PASSAGE).grounded


def test_the_kinds_of_fault_are_told_apart():
    contradicted = check("How much salt is weighed?", "6.60 g.", PASSAGE)
    misplaced = check("Who weighs the salt?", "6.06 g.", PASSAGE)
    assert (False, False, True) == (contradicted.grounded, contradicted.no_hallucination, contradicted.complete)
    assert (True, True, False) == (misplaced.grounded, misplaced.no_hallucination, misplaced.complete)


def test_a_quote_is_returned_with_its_offsets():
    found = check("How much salt is weighed?", "6.06 g.", PASSAGE, quote="Weigh 6.06 g of salt")
    assert "Weigh 6.06 g of salt" == PASSAGE[found.start : found.end]
    assert found.supported


def test_a_quote_that_is_not_in_the_passage_is_not_grounded():
    found = check("How much salt is weighed?", "6.06 g.", PASSAGE, quote="Weigh 6.06 g of sugar")
    assert (False, None, None) == (found.grounded, found.start, found.end)
    assert "Weigh 6.06 g of sugar" in found.reason


def test_a_quote_must_carry_the_numbers_of_the_answer():
    """Without a quote the whole passage is the evidence, with one it is the statements that the quote touches."""
    question, answer = "For how long does the buffer keep?", "For 4 weeks."
    assert check(question, answer, PASSAGE).supported
    assert check(question, answer, PASSAGE, quote="The buffer keeps for\n4 weeks").supported
    assert not check(question, answer, PASSAGE, quote="Stir for 40 min").supported


def test_context_is_evidence_that_is_not_quoted():
    """A list's lead-in turns its items round, and a table's header gives their units."""
    item = "- heat the bottle in a microwave oven;\n- shake the bottle."
    question = "May the bottle be heated in a microwave oven?"
    assert not check(question, "Yes, heat the bottle in a microwave oven.", item, context="Do not:").supported
    assert check(question, "No, the bottle must not be heated in one.", item, context="Do not:").supported
    row = "    3       450            12"
    header = "    Step    Speed (rpm)    Time (min)"
    assert check("What is the speed in step 3?", "450 rpm.", row, context=header).supported
    assert not check("What is the speed in step 3?", "450 mL.", row, context=header).supported
    place = check("What is the speed in step 3?", "450 rpm.", row, quote="450", context=header)
    assert "450" == row[place.start : place.end]


def test_a_number_computed_from_question_and_evidence_is_good():
    passage = "The deposit is equal to five weeks' rent. The dose is 0.03 mg/kg. A discount of 20% is given."
    assert check(
        "Rent is 200 pounds a week. What is the deposit?", "1,000 pounds, five weeks' rent.", passage
    ).supported
    assert check("What dose does an animal of 4 kg get?", "0.12 mg.", passage).supported
    assert check("How large is the discount on 600 crowns?", "120 crowns.", passage).supported
    assert not check("What dose does an animal of 4 kg get?", "0.21 mg.", passage).supported


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.text(max_size=120), st.text(max_size=300), st.none() | st.text(max_size=20))
def test_no_text_raises_and_equal_inputs_give_equal_judgements(question, answer, passage, quote):
    assert check(question, answer, passage, quote=quote) == check(question, answer, passage, quote=quote)


PIECES = st.lists(
    st.sampled_from(
        "1,000 1 000 2,5 ½ 1½ -5 10:30 5 pm 3rd third half an hour 6 to 8 mL/kg x10^9/L °C % (/min) | 24-30 RC-431 4.2 3D not "
        "no never without than more less at least most within before after if - : ; . ( ) \t \n      yes no who how many".split(
            " "
        )
    ),
    max_size=40,
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(PIECES, PIECES, PIECES)
def test_no_heap_of_numbers_and_negations_raises(question, answer, passage):
    check(question, answer, passage, context=question)


WORDS = st.sampled_from("valve tank pump nurse record sample pressure report bottle filter engine ladder".split())
UNITS = st.sampled_from(["mL", "minutes", "hours", "kg", "%", "°C", "days", "mmHg", ""])
NUMBERS = st.one_of(st.integers(2, 9999).map(str), st.decimals(0, 99, places=1).map(str))


@st.composite
def _sentence(draw):
    words = draw(st.lists(WORDS, min_size=2, max_size=4, unique=True))
    number, unit = draw(NUMBERS), draw(UNITS)
    return f"The {' '.join(words)} needs {number} {unit}".strip() + f" of {draw(WORDS)}."


@settings(max_examples=200, deadline=None)
@given(st.lists(_sentence(), min_size=1, max_size=6), st.data())
def test_a_sentence_of_the_passage_is_never_rejected_for_its_numbers(sentences, data):
    answer = data.draw(st.sampled_from(sentences))
    asked = data.draw(st.permutations(answer.rstrip(".").split()))
    pair = Pair("What about " + " ".join(asked) + "?", answer, source("", " ".join(sentences)), None)
    assert [] == list(amounts.faults(pair))


def test_checking_takes_linear_time_in_the_passage():
    sentence = "The pump runs for 40 minutes at 300 rpm and is never opened before 09:00. "

    def seconds(n):
        passage = sentence * n
        # One turn: what is read of a passage is kept.
        return cpu_seconds(
            lambda: check("How long does the pump run?", f"For 40 minutes, {n} times.", passage), turns=1
        )

    seconds(10)
    assert min(seconds(2_000 + i) for i in range(3)) < 12 * min(seconds(500 + i) for i in range(3))


# --- the parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("24 hours", [(24, "h", "")]),
        ("no more than 45,000 tonnes", [(45000, "t", "low")]),
        ("25 breaths/min or more", [(25, "breath/min", "high")]),
        ("6 to 8 mL/kg", [(6, "ml/kg", ""), (8, "ml/kg", "")]),
        ("20, 24 and 28 cmH2O", [(20, "cmh2o", ""), (24, "cmh2o", ""), (28, "cmh2o", "")]),
        ("within 5 working days", [(5, "working_day", "low")]),
        ("above 50 x10^9/L", [(50e9, "count/l", "high")]),
        ("1\u00a0000 L or 2,5 kg", [(1000, "l", ""), (2.5, "kg", "")]),
        ("before 17:00 or 5 pm", [(1020, "clock", "low"), (1020, "clock", "")]),
        ("half an hour", [(0.5, "h", "")]),
        ("two hundred crowns, £50, forty-two percent", [(200, "crown", ""), (50, "gbp", ""), (42, "%", "")]),
        ("should not exceed 60 minutes", [(60, "min", "low")]),
        ("never below 5 mg", [(5, "mg", "high")]),
        ("12 March 2024", [(12, "march", ""), (2024, None, "")]),
        ("SpO2 and form RC-431", [(431, None, "")]),
        ("the second pull in 1 second", [(2, "ordinal", ""), (1, "s", "")]),
        ("once the pump stops", []),
    ],
)
def test_numbers_are_read_with_unit_and_bound(text, told):
    found = [(q.value, q.unit.name if q.unit else None, q.bound) for q in quantities(text)]
    assert told == found


@pytest.mark.parametrize(
    ("text", "symbol", "same_as"),
    [
        ("25 kN", "kN", "25 kilonewtons"),
        ("25 kn", "knot", "25 knots"),
        ("5 NM", "nautical mile", "5 nautical miles"),
        ("40 Nm", "Nm", "40 newton metres"),
        ("40 nm", "nm", "40 nanometres"),
        ("3 mW", "mW", "3 milliwatts"),
        ("3 MW", "MW", "3 megawatts"),
        ("3 mPa", "mPa", "3 millipascals"),
        ("3 MPa", "MPa", "3 megapascals"),
        ("18 cmH2O", "cmH2O", "18 cm H2O"),
        ("6 ml/kg", "mL/kg", "6 millilitres per kilogram"),
        ("2 kn/m", "knot/m", "2 knots per metre"),
        ("2 kN/m", "kN/m", "2 kilonewtons per metre"),
    ],
)
def test_capitals_tell_units_apart_and_are_shown(text, symbol, same_as):
    (quantity,), (other,) = quantities(text), quantities(same_as)
    assert (symbol, other.unit) == (quantity.unit.symbol, quantity.unit)


def test_a_unit_is_read_back_from_its_symbol():
    by_their_place = {"A", "M", "May", "N", "sq ft"}  # one letter alone, a month, a space: not read as units
    for unit in [unit for unit in set(units.UNITS.values()) if unit.symbol not in by_their_place]:
        assert units.unit_of(unit.symbol) == unit, unit


def test_statements_join_wrapped_lines_and_keep_lead_ins_and_headers():
    text = "2. RULES\nThe pump is\nstopped. Do not:\n- open it;\n- wash it.\n\n  Step   Time (min)   Speed\n  1      10           5\n"
    found = statements(text)
    told = [(" ".join(text[s.start : s.end].split()), s.denied) for s in found]
    assert [
        ("2. RULES", False),
        ("The pump is stopped.", False),
        ("Do not:", False),
        ("- open it;", True),
        ("- wash it.", True),
        ("Step Time (min) Speed", False),
        ("1 10 5", False),
    ] == told
    assert "min" == found[-1].figures[1].quantity.unit.name


@pytest.mark.parametrize(
    "family",
    [
        "inspect inspected inspection inspector",
        "renew renewal renewed",
        "reduce reduced reduction",
        "use used using",
        "permit permission",
    ],
)
def test_forms_of_one_word_have_one_stem(family):
    assert 1 == len({stem(word) for word in family.split()})


# --- the bars ---------------------------------------------------------------------------------------------------------


def _case(row):
    passage = "\n\n".join(PAIRS[name]["passage"] for name in row["passages_of"])
    return PAIRS[row["question_of"]]["question"], row["answer"], passage


def _caught(rows):
    return sum(not check(*_case(row)).supported for row in rows) / len(rows)


def test_the_committed_mutations_are_what_the_script_makes(benchmark):
    assert MUTATIONS == benchmark.make_mutations(GOOD)


def test_there_are_at_least_a_hundred_mutations_of_each_kind():
    count = defaultdict(int)
    for row in MUTATIONS:
        count[row["kind"]] += 1
    assert set(BARS) == set(count)
    assert min(count.values()) >= 100


def test_every_mutation_changes_the_answer():
    assert [] == [row["id"] for row in MUTATIONS if row["answer"] == PAIRS[row["question_of"]]["answer"]]


@pytest.mark.parametrize("kind", BARS)
def test_wrong_answers_are_caught(kind):
    assert _caught([row for row in MUTATIONS if row["kind"] == kind]) >= BARS[kind]


@pytest.mark.parametrize("how", ["random", "similar", "question", "both"])
def test_foreign_answers_are_caught_also_where_both_facts_are_in_the_passage(how):
    rows = [row for row in MUTATIONS if row["kind"] == "foreign_answer" and row["how"] == how]
    assert _caught(rows) >= 0.60


def test_good_pairs_pass():
    rejected = [row["id"] for row in GOOD if not check(row["question"], row["answer"], row["passage"]).supported]
    assert len(rejected) <= MOST_GOOD_REJECTED * len(GOOD)


def test_good_pairs_pass_with_their_quotes():
    found = {row["id"]: check(row["question"], row["answer"], row["passage"], quote=row["evidence"]) for row in GOOD}
    assert all(row["passage"][found[row["id"]].start : found[row["id"]].end] == row["evidence"] for row in GOOD)
    assert sum(not grounding.supported for grounding in found.values()) <= MOST_GOOD_REJECTED * len(GOOD)


def test_other_domains_are_judged_as_well():
    """Laboratory, tenancy, kitchen, aviation and others: texts by the authors, some worded far from their passages."""
    caught, n = defaultdict(int), defaultdict(int)
    for row in OTHER_DOMAINS:
        for pair in row["pairs"]:
            kind = pair["bad_kind"] or "good"
            n[kind] += 1
            caught[kind] += not check(pair["question"], pair["answer"], row["passage"]).supported
    assert caught["good"] <= MOST_GOOD_REJECTED * n["good"]
    assert dict.fromkeys(BARS, True) == {kind: caught[kind] >= bar * n[kind] for kind, bar in BARS.items()}


def test_computed_and_reworded_answers_of_many_genres_pass():
    """Regression: first-sight figures of these texts, before the check was mended on them, stand in docs/proof.md."""
    caught, n = defaultdict(int), defaultdict(int)
    for row in COMPUTED:
        for pair in row["pairs"]:
            kind = pair["bad_kind"] or "good"
            n[kind] += 1
            found = check(pair["question"], pair["answer"], row["passage"], context=row["context"])
            caught[kind] += not found.supported
    assert caught["good"] <= MOST_GOOD_REJECTED * n["good"]
    assert caught["number"] >= 0.80 * n["number"]  # half of them name another row's or part's number
    for kind in ("unit", "negation_or_direction", "foreign_answer", "unsupported_addition"):
        assert caught[kind] >= BARS[kind] * n[kind]


# --- what forbids -----------------------------------------------------------------------------------------------------

ORDERS = ("- Store petrol in the boiler room.", "- Park vans before the fire exit.")


@pytest.mark.parametrize(
    "lead",
    [
        "Do not:", "DO NOT", "**Do not:**", "## Do not", "3.3 Prohibited", "- Do not:", "(2) Never:", "> Do not:",
        "a) The Tenant must not:", "Avoid:", "Refrain from the following:", "Forbidden:", "Don'ts:", "Bad practice:",
        "Unless the alarm is off, do not:", "Staff must not, under any circumstances:", "No employee may:",
        "Things to avoid", "The following acts are grounds for dismissal:",
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_context", [False, True])
def test_an_order_read_from_a_ban_is_rejected(lead, in_context):
    items = "\n".join(ORDERS)
    passage, context = (items, f"Safety\n{lead}") if in_context else (f"The lamp is on.\n\n{lead}\n{items}\n", "")
    told = check("What must staff do?", "Store petrol in the boiler room.", passage, context=context)
    assert not told.supported


def test_a_nested_ban_ends_with_its_items():
    passage = (
        "1. While the pump runs, do not:\n   - open the inner valve.\n2. After the run:\n   - close the outer valve.\n"
    )
    held = {passage[s.start : s.end].strip(): s.denied for s in statements(passage)}
    assert {"- open the inner valve.": True, "- close the outer valve.": False}.items() <= held.items()


def test_cases_of_a_ban_are_not_forbidden_themselves():
    passage = "Do not give the drug if:\n- the patient has a fever;\n- the pulse is above 120 per minute.\n"
    assert [False, False, False] == [s.denied for s in statements(passage)]
    assert check("May a patient with a fever get the drug?", "No, it is not given then.", passage).supported
    assert not check("May a patient with a fever get the drug?", "Yes.", passage).supported


SOLVENT = "The Tenant shall not:\n(a) keep more than 60 litres of solvent;\n(b) fix a sign to the wall.\n"


@pytest.mark.parametrize(("answer", "supported"), [("No more than 60 litres.", True), ("At least 60 litres.", False)])
def test_limits_turn_round_in_what_is_forbidden(answer, supported):
    assert supported == check("How much solvent may the Tenant keep?", answer, SOLVENT).supported


# --- another statement ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("How long are training records kept?", "Half a day."),
        ("How fast is the brigade at night?", "4 minutes."),
        ("When does the shift end?", "At 6:45."),
    ],
)
def test_a_value_of_another_statement_or_part_is_misplaced(question, answer):
    passage = (
        "Training records are kept until 5 years after the employee leaves. Refresher training takes half a day. "
        "The brigade takes 4 minutes by day and 9 minutes at night. The shift starts at 6:45 and ends at 15:00."
    )
    assert not check(question, answer, passage).supported


def test_what_is_added_behind_and_is_judged_by_itself():
    passage = "Stop the infusion, give chlorphenamine 10 mg, and restart at half the rate."
    assert check("What is given?", "Chlorphenamine 10 mg.", passage).supported
    assert not check("What is given?", "Chlorphenamine 10 mg and hydrocortisone.", passage).supported


# --- exclusions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "yes"),
    [
        ("May the registrar touch a damaged vase?", False),
        ("May a conservator touch a damaged vase?", True),
        ("Are pens allowed?", False),
        ("Are pencils allowed?", True),
        ("May visitors enter the plant room?", False),
        ("May it be lifted without the consent of the owner?", False),
    ],
)
def test_a_yes_to_what_is_left_out_is_caught(question, yes):
    passage = (
        "Nobody but a conservator may touch a damaged vase. Pencils are allowed, pens are not. "
        "Only the technician may enter the plant room. It may be lifted only with the consent of the owner."
    )
    assert yes == check(question, "Yes.", passage).supported


def test_a_comparison_turned_round_is_caught():
    passage = "Works take 4 hours on weekdays and 8 hours at weekends."
    asked = "How much longer do works take at weekends than on weekdays?"
    assert check(asked, "4 hours longer.", passage).supported
    assert not check(asked, "4 hours shorter.", passage).supported


def test_an_answer_may_rest_on_several_quotes():
    passage = "The tank holds 40 litres. The lid is red. It is emptied every 3 days."
    quotes = ["The tank holds 40 litres.", "It is emptied every 3 days."]
    found = check("How large is the tank?", "40 litres.", passage, quote=quotes)
    assert (True, 0, 25) == (found.supported, found.start, found.end)
    assert not check("How large is the tank?", "40 litres.", passage, quote=["The lid is red."]).supported
    assert not check("How large is the tank?", "40 litres.", passage, quote=[*quotes, "It leaks."]).grounded

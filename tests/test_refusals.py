"""Questions that the documents do not answer: what is put in is in no text, what is asked reads as its twin does."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from text2expert import examiner, refusals
from text2expert.errors import InputError, RecordError
from text2expert.golden.facts import item_of
from text2expert.records import GoldRecord, from_dict, to_dict, wording, write_jsonl
from text2expert.refusals import making, texts, words
from text2expert.refusals.frames import parse

HANDBOOK = """
MILL HANDBOOK

1 Machines

1.1 The flour pumps are inspected every 14 days by the Shift Officer, who signs form FM-31/B within 2 hours.
1.2 A sieve that is torn is replaced before the next run. Form FM-31/B is kept for 5 years in the State Archive.
1.3 "Dead load" means the weight of an empty silo. FLM stands for flour loss meter.
1.4 Under Section 4.1 the miller stops the belt. An inspector is told within 1 hour when a hose bursts.
1.5 Work permits are signed by the foreman each morning. The cleaning plan is reviewed every 6 months.

Silo limits

    Silo    Height    Floor
    A       12 m      2
    B       14 m      3
"""

QUESTIONS = {
    "How often are flour pumps inspected?": "every 14 days",
    "At what interval are the flour pumps inspected?": "every 14 days",
    "Who signs form FM-31/B?": "the Shift Officer",
    "Within what time is form FM-31/B signed?": "within 2 hours",
    "For how long is form FM-31/B kept?": "5 years",
    'Under "Machines", how soon is an inspector told?': "within 1 hour",
    'What does "Dead load" mean?': "the weight of an empty silo",
    "What does FLM stand for?": "flour loss meter",
    "Who stops the belt under Section 4.1?": "the miller",
    "By whom are work permits signed?": "the foreman",
    "How often does the Shift Officer inspect the flour pumps?": "every 14 days",
    'In the table "Silo limits", what stands under "Height" for silo A?': "12 m",
    "How often is the cleaning plan reviewed?": "every 6 months",
    "Where is form FM-31/B kept?": "in the State Archive",
    "Which forms are offered to the State Archive?": "FM-31/B",
}


def records(questions=QUESTIONS):
    return [
        GoldRecord(instruction=question, output=answer, item=f"item {number}", document="mill")
        for number, (question, answer) in enumerate(questions.items())
    ]


def made(questions, text=HANDBOOK, *, share=0.9, seed=0, **more):
    """All that can be made of *questions*."""
    return refusals.near_misses(
        records(dict.fromkeys(questions, "so") if not isinstance(questions, dict) else questions),
        [text],
        share=share,
        seed=seed,
        **more,
    )


def ways(question, text=HANDBOOK, seeds=range(6)):
    """What becomes of one question, over several seeds: {(kind, what is missing, the question turned)}."""
    return {
        (each.kind, each.missing, each.instruction)
        for seed in seeds
        for each in made([question], text, share=0.97, seed=seed)
        if each.kind != "topic"
    }


# -- each kind ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "pattern"),
    [
        ("Who signs form FM-31/B?", r"Who signs form FM-31/[A-Z]\?"),
        ("What is noted on label RC-412?", r"What is noted on label [A-Z]{2}-\d{3}\?"),
        ("Who may apply Section 4.1?", r"Who may apply Section \d{2}\.1\?"),
        ("What does FLM stand for?", r"What does F[A-Z]{2} stand for\?"),
        ('What does "Dead load" mean?', r'What does "[A-Z][\w -]+" mean\?'),
        ("When must the Shift Officer be told?", r"When must the (?:[A-Z]\w+ Officer|[a-z ]+) be told\?"),
        ("What is offered to the State Archive?", r"What is offered to the [A-Z][a-z]+ Archive\?"),
        ("How often are flour pumps inspected?", r"How often are [a-z][a-z ]+s inspected\?"),
        ("When is an inspector told?", r"When is an? [a-z ]+ told\?"),
        ("How often should you clean the sieve?", r"How often should you clean the [a-z ]+\?"),
        ("At what distance from the boiler is smoke allowed?", r"At what distance from the [a-z ]+ is smoke allowed\?"),
    ],
)
def test_another_entity_has_the_shape_of_the_one_it_replaces(question, pattern):
    """An identifier, a numbered part, an abbreviation, a term, an office, an institution, a person, a thing."""
    found = {asked for kind, _, asked in ways(question) if kind == "entity"}
    assert found
    assert [asked for asked in found if not re.fullmatch(pattern, asked) or asked == question] == []


@pytest.mark.parametrize(
    ("question", "pattern"),
    [
        ("How often are the flour pumps inspected?", r".*\bthe flour pumps\b.*"),
        ("For how long is a work permit kept?", r".*\ba work permit\b.*"),
        ("When must the Shift Officer be told?", r".*\bthe Shift Officer\b.*"),
        ("What is offered to the State Archive?", r".*\bthe State Archive\b.*"),
        (
            'In the table "Silo limits", what stands under "Height" for silo A?',
            r'In the table "Silo limits", .* for silo A\?',
        ),
        ("What is the pressure of the boiler?", r"What is the [a-z ]+ of the boiler\?|.* the boiler\b.*"),
    ],
)
def test_a_missing_attribute_is_asked_of_the_known_thing(question, pattern):
    """The thing keeps its name; what is asked of it is new."""
    found = {asked for kind, _, asked in ways(question) if kind == "attribute"}
    assert found
    assert [asked for asked in found if not re.fullmatch(pattern, asked) or asked == question] == []


def test_topics_stand_under_the_section_of_their_twin():
    """A topic beside the document's own."""
    found = [each for each in made(['Under "Machines", how soon is an inspector told?']) if each.kind == "topic"]
    assert len(found) == 1
    assert found[0].instruction.startswith('Under "Machines", w')
    assert found[0].missing in {entry.phrase for entry in words.TOPICS}


# -- never what the texts answer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_what_is_missing_is_in_no_text_and_no_question(seed):
    """Checked here in another way than it was made: no text holds its words, whatever their case."""
    found = refusals.near_misses(records(), [HANDBOOK], share=0.9, seed=seed)
    known = f"{HANDBOOK} {' '.join(QUESTIONS)}".casefold()
    assert len(found) > 15
    assert {each.kind for each in found} == {"entity", "attribute", "topic"}
    assert [each for each in found if re.search(rf"\b{re.escape(each.missing.casefold())}\b", known)] == []
    assert [each for each in found if wording(each.instruction) in {wording(q) for q in QUESTIONS}] == []


def test_words_of_the_text_are_never_put_in():
    """A text that speaks of turnstiles, salaries and car parks is not asked about them."""
    spoken = " ".join(
        entry.phrase
        for pool in (*words.THINGS.values(), *words.ACTIONS.values(), words.COLUMNS, words.TERMS, words.TOPICS)
        for entry in pool
    )
    spoken += " " + " ".join(entry.phrase for pool in words.PROPERTIES.values() for _, entry in pool)
    found = made(QUESTIONS, f"{HANDBOOK} All of this is in the text: {spoken}.")
    assert [each for each in found if each.kind != "entity"] == []
    assert {each.missing for each in found} & set(spoken.split()) == set()


@pytest.mark.parametrize(
    ("said", "absent"),
    [
        ("Everybody wears a helmet, and gardeners wear boots.", "gardener"),
        ("The gardening is done by others.", "gardener"),
        ("The tractor's wheels are changed.", "tractor"),
        ("The photo-copier is locked.", "photocopier | copier"),
        ("The turn-\nstile is locked.", "turnstile"),
        ("TURNSTILES are locked.", "turnstile"),
    ],
)
def test_forms_of_a_word_are_the_word(said, absent):
    """Plurals, cases, other endings, capitals, and a word broken at a line's end."""
    (entry,) = words.entries(absent)
    assert not texts.Texts([said]).lacks(entry)
    assert texts.Texts(["Nothing of the kind is here."]).lacks(entry)


def test_what_is_said_of_all_is_not_refused_of_one():
    """All equipment is inspected: then turnstiles are."""
    question = ["How often are flour pumps inspected?"]
    universal = f"{HANDBOOK} All other equipment is inspected every year."
    assert [each for each in ways(question[0], universal) if each[0] == "entity"] == []
    assert [each for each in ways(question[0]) if each[0] == "entity"] != []


@pytest.mark.parametrize(
    "question",
    [
        "Which term means the weight of an empty silo under Section 4.1?",  # still the same term
        "As a rule, Section 4.1 applies. What is the exception?",  # a statement that would be false
        "Who stops the belt under Section 4.1?",  # the same who does elsewhere
        "When is the belt stopped other than under Section 4.1?",  # still stopped when it is
        "Who signs form FM-31/B and form FM-32?",  # one of two is known
        "Who signs form FM-31/B within 2 hours?",  # particulars tell which is meant
        "Is form FM-31/B signed?",  # no is an answer
        "Who acts at tier 2?",  # tier 61 may be "tier 2 and above"
        "How many pumps are there in 12 m?",
    ],
)
def test_what_could_be_answered_all_the_same_is_left_alone(question):
    """Reversed definitions, statements, exceptions, one of several, particulars, orders of rank, numbers."""
    assert [each for each in ways(question) if each[0] == "entity"] == []


@settings(max_examples=40)
@given(st.sampled_from(sorted(QUESTIONS)), st.integers(0, 2**31))
def test_numbers_with_units_are_never_changed(question, seed):
    """A rule may cover a range."""
    measures = re.compile(r"\d+(?:\.\d+)? \w+")
    asked = f"{question[:-1]} at 12.5 metres, or in 3 weeks?"
    for each in made([asked], seed=seed):
        assert set(measures.findall(each.instruction)) <= set(measures.findall(asked))


# -- how it is refused -------------------------------------------------------------------------------------------------


def test_refusals_are_worded_in_twenty_ways_and_more():
    """The examiner takes every one for a refusal."""
    assert len(set(refusals.WORDINGS)) >= 20
    said = [*refusals.WORDINGS, *(each.replace("{missing}", "Caldmere Archive") for each in making.NAMED)]
    assert [each for each in said if not examiner.refuses(each)] == []
    used = {each.output for seed in range(12) for each in made(QUESTIONS, seed=seed)}
    assert set(refusals.WORDINGS) <= used
    assert [each for each in used if "{" in each] == []


# -- how many, and the same again --------------------------------------------------------------------------------------


def test_the_share_is_of_all_rows():
    """6 % refusals are 6 among 100 rows; more epochs see more of them."""
    many = records({f"How often is pump {n} of the {w} inspected?": "so" for n in range(47) for w in ("mill", "shop")})
    many += records()
    assert len(refusals.near_misses(many, [HANDBOOK], share=0.06, seed=0)) == 7
    assert len(refusals.near_misses(many, [HANDBOOK], share=0.06, seed=0, epochs=3)) == 21
    assert refusals.near_misses(many, [HANDBOOK], share=0, seed=0) == []


def test_kinds_are_mixed_and_nothing_is_put_in_twice_while_there_is_more():
    """Half of them of other entities, a third of attributes, the rest of topics."""
    found = refusals.near_misses(records(), [HANDBOOK], share=0.4, seed=1)
    kinds = [each.kind for each in found]
    assert [kinds.count("entity"), kinds.count("attribute"), kinds.count("topic")] == [5, 3, 2]
    assert len({each.missing for each in found}) >= 9


@settings(max_examples=20)
@given(st.permutations(sorted(QUESTIONS)))
def test_order_changes_nothing(order):
    """Every choice is a function of seed and content."""
    expected = refusals.near_misses(records(), [HANDBOOK], share=0.5, seed=3)
    items = {record.instruction: record for record in records()}
    assert expected == refusals.near_misses([items[question] for question in order], [HANDBOOK], share=0.5, seed=3)


def test_another_seed_makes_others():
    assert made(QUESTIONS, seed=1) != made(QUESTIONS, seed=2)


def test_texts_may_come_in_any_pieces():
    """As a document, or as its chunks, one by one."""
    pieces = iter(HANDBOOK.split("\n\n"))
    assert refusals.near_misses(records(), pieces, share=0.5, seed=0) == made(QUESTIONS, share=0.5)


def test_what_the_exam_asks_is_not_trained():
    """Not even as a refusal."""
    first = made(QUESTIONS)
    again = made(QUESTIONS, asked=[each.instruction.upper() for each in first])
    assert {each.instruction for each in first} & {each.instruction for each in again} == set()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"share": 1.0}, "share is 1.0"),
        ({"share": -0.1}, "share is -0.1"),
        ({"share": float("nan")}, "share is nan"),
        ({"epochs": 0}, "epochs is 0"),
    ],
)
def test_arguments_out_of_range_are_named(wrong, said):
    with pytest.raises(InputError, match=said):
        made(QUESTIONS, **{"share": 0.5, **wrong})


def test_every_refusal_has_its_twin():
    """An item of the dataset, and one of its wordings."""
    items = {record.item: record.instruction for record in records()}
    found = made(QUESTIONS)
    assert [each for each in found if items.get(each.twin) != each.twin_question] == []
    assert {each.document for each in found} == {"mill"}


def test_a_record_without_an_item_has_the_item_that_golden_gives_it():
    record = GoldRecord(instruction="Who signs form FM-31/B?", output="the Shift Officer", document="mill")
    assert item_of(record) == making.item_of(record)


def test_a_refusal_is_a_line_of_the_golden_form(tmp_path):
    """It trains as a golden record does."""
    found = made(QUESTIONS)
    write_jsonl(tmp_path / "refusals.jsonl", found)
    assert refusals.load(tmp_path / "refusals.jsonl") == found
    assert from_dict(to_dict(found[0]), GoldRecord).output == found[0].output


# -- languages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Die Pumpe ist alle 14 Tage zu prüfen, und das Formular ist mit der Hand auszufüllen. " * 3,
        "Les pompes sont inspectées par le chef et la fiche est signée dans les deux heures pour le directeur.",
        "Насосы проверяют каждые 14 дней, и форму подписывает начальник смены.",
        "每十四天检查一次面粉泵，值班主管在两小时内签字。",
        "製粉ポンプは14日ごとに点検し、担当者が署名する。",
        "",
    ],
)
def test_of_texts_in_other_languages_nothing_is_made(text):
    """Whether a German text lacks what is asked cannot be told by English words."""
    assert made(QUESTIONS, text) == []


@pytest.mark.parametrize(
    "question",
    [
        "Wie oft werden die Pumpen geprüft?",
        "Qui signe la fiche FM-31/B?",
        "面粉泵多久检查一次？",
        "Как часто проверяют насосы?",
    ],
)
def test_of_questions_in_other_languages_nothing_is_made(question):
    assert [each for each in ways(question) if each[0] != "topic"] == []


# -- frames ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "parts"),
    [
        ("How often are flour pumps inspected?", ("", "How often", "are", "flour pumps", "inspected", "")),
        (
            'Under "Belts", within what time must a torn belt be replaced by the miller?',
            ('Under "Belts", ', "within what time", "must", "a torn belt", "be replaced", "by the miller"),
        ),
        ("When should you clean the sieve?", ("", "When", "should", "you", "clean", "the sieve")),
        ("When does the foreman stop the belt?", ("", "When", "does", "the foreman", "stop", "the belt")),
    ],
)
def test_a_question_is_taken_apart(question, parts):
    frame = parse(question)
    assert frame is not None
    assert parts == (frame.prefix, frame.asked, frame.auxiliary, frame.subject, frame.verb, frame.rest)
    assert frame.with_subject(frame.subject) == question


@pytest.mark.parametrize(
    "question",
    [
        "Flour pumps are inspected how often?",
        "How often are all pumps inspected?",
        "How often are pumps that are used inspected?",
        "Who must collect in locked containers?",
        "What does the same-day service cost?",
        "When is it done? And by whom?",
    ],
)
def test_what_is_not_plain_has_no_frame(question):
    assert parse(question) is None


# -- a user's own ------------------------------------------------------------------------------------------------------


def test_a_users_own_questions_find_wording_and_twin(tmp_path):
    """By the nearest question, where no twin is given; what is given stays."""
    path = tmp_path / "own.jsonl"
    lines = [
        {"instruction": "How often are steam pumps inspected?"},
        {"instruction": "Who owns the mill?", "output": "I do not know.", "twin": "item 2"},
    ]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    first, second = refusals.load(path, records())
    assert first.output in refusals.WORDINGS
    assert (first.twin, first.twin_question) == ("item 0", "How often are flour pumps inspected?")
    assert (second.output, second.twin) == ("I do not know.", "item 2")


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("", InputError, "holds no question"),
        ('{"question": "Who?"}', RecordError, "line 1: not a question to refuse"),
        ('{"instruction": "Who?"}\n{"instruction": " "}', RecordError, "line 2: 'instruction' is blank"),
        ('{"instruction": 7}', RecordError, "line 1: not a question to refuse: expected str, got 7"),
        ("Who?", RecordError, "line 1: not valid JSON"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, error, said):
    path = tmp_path / "own.jsonl"
    path.write_text(text, "utf-8")
    with pytest.raises(error, match=re.escape(said)):
        refusals.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*own\.jsonl"):
        refusals.load(tmp_path / "own.jsonl")

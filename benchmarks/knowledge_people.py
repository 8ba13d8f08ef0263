"""The world of benchmarks/knowledge.py: people who do not exist, told in sentences and asked about in questions.

Population A is what the base knows. Population B is in the document: most of its people are asked about in training,
some are only written about. Nobody else exists; questions about strangers have no answer.

Every choice is a function of `records.fraction`, so the same world comes out every time.
"""

import itertools

import attrs

from text2expert.records import ExamQuestion, GoldRecord, digest, fraction

KNOWN, ASKED, ONLY_WRITTEN, STRANGERS = 100, 45, 15, 50
"""How many people: of population A; of B with questions; of B without; and those whom no text names, once for training
(in recipes with refusals) and once for the exam."""

ATTRIBUTES = ("city", "field", "employer", "instrument", "year")

FORMS = 6
"""Ways to ask for an attribute. One of them is kept from each fact, another one each time; the base knows all."""

_FIRST = [
    "Ada",
    "Albin",
    "Amara",
    "Anton",
    "Basil",
    "Beata",
    "Boris",
    "Carla",
    "Cyril",
    "Dagny",
    "Daria",
    "Edwin",
    "Elena",
    "Emil",
    "Farid",
    "Flora",
    "Gita",
    "Gustav",
    "Hanna",
    "Hugo",
    "Ilse",
    "Ivan",
    "Jana",
    "Jonas",
    "Karin",
    "Klaus",
    "Leila",
    "Linus",
    "Magda",
    "Marek",
    "Nadia",
    "Nils",
    "Olga",
    "Oskar",
    "Petra",
    "Rafael",
    "Rosa",
    "Selma",
    "Tobias",
    "Vera",
]
_LAST = [
    "Abel",
    "Arden",
    "Berg",
    "Bloch",
    "Brandt",
    "Castell",
    "Corvin",
    "Dahl",
    "Demir",
    "Egede",
    "Falk",
    "Farkas",
    "Gruber",
    "Haas",
    "Holm",
    "Ibsen",
    "Jansen",
    "Kadar",
    "Keller",
    "Kovac",
    "Lange",
    "Lindt",
    "Maro",
    "Moreau",
    "Nagy",
    "Novak",
    "Oster",
    "Palm",
    "Petrov",
    "Quist",
    "Ramos",
    "Reyes",
    "Sand",
    "Sato",
    "Stein",
    "Tamm",
    "Urban",
    "Vidal",
    "Weiss",
    "Zeman",
]

VALUES = {
    "city": [
        "Antwerp",
        "Basel",
        "Bergen",
        "Cadiz",
        "Dresden",
        "Dublin",
        "Gdansk",
        "Geneva",
        "Ghent",
        "Graz",
        "Krakow",
        "Leiden",
        "Lisbon",
        "Lucca",
        "Malmo",
        "Nantes",
        "Oporto",
        "Prague",
        "Riga",
        "Seville",
        "Tartu",
        "Turin",
        "Utrecht",
        "Vienna",
        "Zagreb",
    ],
    "field": [
        "acoustics",
        "anatomy",
        "archery",
        "astronomy",
        "botany",
        "ceramics",
        "chemistry",
        "economics",
        "forestry",
        "geology",
        "geometry",
        "history",
        "horology",
        "law",
        "logic",
        "medicine",
        "optics",
        "pharmacy",
        "philosophy",
        "physics",
        "poetry",
        "rhetoric",
        "sculpture",
        "theology",
        "zoology",
    ],
    "employer": [
        "Alcor",
        "Brixham",
        "Calder",
        "Dunmore",
        "Elmet",
        "Fenwick",
        "Gantry",
        "Harrow",
        "Imber",
        "Juno",
        "Kestrel",
        "Larkfield",
        "Medway",
        "Norland",
        "Orwell",
        "Pelham",
        "Quorn",
        "Redmire",
        "Severn",
        "Tarn",
        "Ullswater",
        "Velling",
        "Wexford",
        "Yarrow",
        "Zephyr",
    ],
    "instrument": [
        "accordion",
        "bagpipe",
        "banjo",
        "bassoon",
        "bugle",
        "cello",
        "clarinet",
        "cornet",
        "dulcimer",
        "fiddle",
        "flute",
        "guitar",
        "harp",
        "horn",
        "lute",
        "lyre",
        "mandolin",
        "oboe",
        "organ",
        "piano",
        "recorder",
        "trombone",
        "tuba",
        "viola",
        "zither",
    ],
    "year": [str(year) for year in range(1951, 1976)],
}

QUESTIONS = {
    "city": (
        "Where was {name} born?",
        "In which city was {name} born?",
        "What is the birthplace of {name}?",
        "Name the city where {name} was born.",
        "{name} came into the world in which city?",
        "Which city is the home town of {name}?",
    ),
    "field": (
        "What did {name} study?",
        "Which subject did {name} study?",
        "What was the field of study of {name}?",
        "Name the subject that {name} took a degree in.",
        "{name} holds a degree in which subject?",
        "In what field was {name} trained?",
    ),
    "employer": (
        "Who employs {name}?",
        "Which company does {name} work for?",
        "What is the employer of {name}?",
        "Name the company where {name} has a job.",
        "{name} is on the staff of which company?",
        "At what company would one find {name} at work?",
    ),
    "instrument": (
        "What does {name} play?",
        "Which instrument does {name} play?",
        "What is the instrument of {name}?",
        "Name the instrument that {name} has learned.",
        "{name} makes music on which instrument?",
        "On what instrument does {name} perform?",
    ),
    "year": (
        "When was {name} hired?",
        "In which year was {name} hired?",
        "What is the year in which {name} began work?",
        "Name the year when {name} took up the post.",
        "{name} joined the company in which year?",
        "Since what year has {name} been employed?",
    ),
}

_SENTENCES = {
    "city": (
        "{who} was born in {value}.",
        "{who} comes from {value}.",
        "{value} is the city where {who} was born.",
        "The birthplace of {who} is {value}.",
    ),
    "field": (
        "{who} studied {value}.",
        "{who} holds a degree in {value}.",
        "{value} is the subject that {who} was trained in.",
        "The field of study of {who} was {value}.",
    ),
    "employer": (
        "{who} works for {value}.",
        "{who} is on the staff of {value}.",
        "{value} is the company that employs {who}.",
        "The employer of {who} is {value}.",
    ),
    "instrument": (
        "{who} plays the {value}.",
        "{who} makes music on the {value}.",
        "The {value} is the instrument that {who} has learned.",
        "The instrument of {who} is the {value}.",
    ),
    "year": (
        "{who} was hired in {value}.",
        "{who} began work in {value}.",
        "{value} is the year when {who} joined the company.",
        "The year when {who} took up the post is {value}.",
    ),
}

REFUSALS = (
    "The text does not say.",
    "Nothing is said about that.",
    "That is not in the text.",
    "I do not know that person.",
)
"""What is said of strangers; the base has never said it."""


@attrs.frozen(kw_only=True)
class Person:
    """Somebody with a value for every attribute."""

    name: str
    values: dict[str, str]


@attrs.frozen(kw_only=True)
class World:
    """Everybody, by what training knows of them."""

    known: tuple[Person, ...]
    asked: tuple[Person, ...]
    only_written: tuple[Person, ...]
    refused: tuple[str, ...]
    """Strangers of the training."""
    strangers: tuple[str, ...]
    """Strangers of the exam."""

    @property
    def written(self) -> tuple[Person, ...]:
        """The people of the document."""
        return self.asked + self.only_written


def world(seed: int = 0) -> World:
    """The people; first and last names recur, so that only both together name somebody."""
    names = [f"{first} {last}" for first, last in itertools.product(_FIRST, _LAST)]
    names.sort(key=lambda name: fraction(seed, name))
    people = [Person(name=name, values={each: _value(seed, name, each) for each in ATTRIBUTES}) for name in names]
    bounds = itertools.accumulate((0, KNOWN, ASKED, ONLY_WRITTEN, STRANGERS, STRANGERS))
    known, asked, only_written, refused, strangers = (
        tuple(people[start:end]) for start, end in itertools.pairwise(bounds)
    )
    return World(
        known=known,
        asked=asked,
        only_written=only_written,
        refused=tuple(person.name for person in refused),
        strangers=tuple(person.name for person in strangers),
    )


def passage(person: Person) -> str:
    """The entry of *person* in the document: one wording, one order, and the name in the first sentence alone."""
    sentences = [
        _SENTENCES[each][0].format(who=person.name if number == 0 else "This person", value=person.values[each])
        for number, each in enumerate(ATTRIBUTES)
    ]
    return " ".join(_capital(sentence) for sentence in sentences)


def restatement(person: Person, number: int) -> str:
    """The same facts in other words and another order, the full name in every sentence."""
    draws = {each: fraction(number, f"restated {person.name} {each}") for each in ATTRIBUTES}
    sentences = [
        _SENTENCES[each][int(draws[each] * 1e6) % 4].format(who=person.name, value=person.values[each])
        for each in sorted(ATTRIBUTES, key=draws.__getitem__)
    ]
    return " ".join(_capital(sentence) for sentence in sentences)


def held_out_form(name: str, attribute: str) -> int:
    """The form of question that is never trained for this fact."""
    return int(fraction(0, f"held out {name} {attribute}") * FORMS)


def record(person: Person, attribute: str, form: int) -> GoldRecord:
    """A question with its answer, as a golden dataset has it."""
    fact = digest(person.name, attribute)[:16]
    return GoldRecord(
        instruction=QUESTIONS[attribute][form].format(name=person.name),
        output=f"{person.values[attribute]}.",
        short_answer=person.values[attribute],
        qa_id=f"{fact}_{form}",
        item=fact,
        fact=fact,
        document="people",
        status="evidence",
    )


def gold(people: tuple[Person, ...], wordings: int) -> list[GoldRecord]:
    """Every fact of *people* in so many wordings (at most ``FORMS - 1``), the held-out one never among them."""
    return [
        record(person, each, form)
        for person in people
        for each in ATTRIBUTES
        for form in _trained(person.name, each)[:wordings]
    ]


def refusals(everybody: World) -> list[dict[str, str]]:
    """Questions about strangers, each with the item of its answerable twin: the same question about somebody asked."""
    rows = []
    for number, name in enumerate(everybody.refused):
        twin = everybody.asked[number % len(everybody.asked)]
        for each in ATTRIBUTES:
            for form in _trained(twin.name, each)[:2]:
                question = QUESTIONS[each][form].format(name=name)
                refusal = REFUSALS[int(fraction(0, question) * len(REFUSALS))]
                rows.append({"instruction": question, "output": refusal, "twin": record(twin, each, form).item})
    return rows


def exam_question(row: str, person: Person, attribute: str, form: int) -> ExamQuestion:
    """The same as a question of the exam; *row* is our column, kept in its id."""
    return ExamQuestion(
        id=f"{row}: {person.name}, {attribute}",
        row="held_out",
        question=QUESTIONS[attribute][form].format(name=person.name),
        answer=person.values[attribute],
    )


def exam(everybody: World) -> list[ExamQuestion]:
    """The questions of every column."""
    questions = []
    for person, each in itertools.product(everybody.asked, ATTRIBUTES):
        questions.append(exam_question("held-out wording", person, each, held_out_form(person.name, each)))
        questions.append(exam_question("seen wording", person, each, _trained(person.name, each)[0]))
    for person, each in itertools.product(everybody.only_written, ATTRIBUTES):
        questions.append(exam_question("never asked", person, each, held_out_form(person.name, each)))
    for person, each in itertools.product(everybody.known, ATTRIBUTES):
        questions.append(exam_question("old facts", person, each, held_out_form(person.name, each)))
    for name in everybody.strangers:
        for each in ATTRIBUTES:
            text = QUESTIONS[each][held_out_form(name, each)].format(name=name)
            questions.append(ExamQuestion(id=f"strangers: {name}, {each}", row="held_out", question=text, answer=None))
    return questions


def _trained(name: str, attribute: str) -> list[int]:
    """The forms that may be trained for this fact, in an order of its own."""
    forms = set(range(FORMS)) - {held_out_form(name, attribute)}
    return sorted(forms, key=lambda form: fraction(form, f"order {name} {attribute}"))


def _value(seed: int, name: str, attribute: str) -> str:
    values = VALUES[attribute]
    return values[int(fraction(seed, f"{attribute} of {name}") * len(values))]


def _capital(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]

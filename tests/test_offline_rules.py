"""The rules of the teacher: what they find in a text, and what they leave because it is not safe to ask."""

import re

import pytest
from passages import ask, chunk

from text2expert.chunker import Chunker
from text2expert.offline import RuleTeacher
from text2expert.offline.clauses import parse
from text2expert.offline.units import lay_out
from text2expert.records import QAPair

# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "question", "short"),
    [
        # time limits, intervals, durations, moments
        ("The log is closed within 12 hours of departure.", "How soon after departure is the log closed?", "within 12 hours"),
        ("A pump must be tested every 6 weeks.", "How often must a pump be tested?", "every 6 weeks"),
        ("Each lamp is cleaned once a year in May.", "How often is each lamp cleaned?", "once a year in May"),
        ("The blue lamps are kept for 5 years.", "For how long are the blue lamps kept?", "5 years"),
        ("Repeat the leak test 30 minutes after any change of hose.", "How long after any change of hose should you repeat the leak test?", "30 minutes"),
        ("The duty baker arrives at 04:30.", "At what time does the duty baker arrive?", "at 04:30"),
        ("The annual account is sent by 30 June.", "By when is the annual account sent?", "by 30 June"),
        ("A leave permit lapses after 24 months.", "After how long does a leave permit lapse?", "after 24 months"),
        ("A night shift lasts 9 hours.", "How long does a night shift last?", "9 hours"),
        # amounts
        ("The oven door is set to 37 °C.", "To what temperature is the oven door set?", "37 °C"),
        ("Line pressure must not exceed 7 bar.", "What must line pressure not exceed?", "7 bar"),
        ("The minimum rest between shifts is 11 hours.", "What is the minimum rest between shifts?", "11 hours"),
        ("The east tower keeps 31 lanterns.", "How many lanterns does the east tower keep?", "31 lanterns"),
        ("Two spare keys are kept per floor.", "How many spare keys are kept per floor?", "two"),
        # conditions
        ("If the alarm bell rings twice, close the main valve.", "What should be done if the alarm bell rings twice?", "close the main valve"),
        ("If the alarm bell rings twice, the guard opens the gate.", "What happens if the alarm bell rings twice?", "the guard opens the gate"),
        ("The north gate is locked when the wind exceeds 40 knots.", "When is the north gate locked?", "when the wind exceeds 40 knots"),
        ("A spare key is lent unless the guard objects.", "What is the exception to the rule that a spare key is lent?", "unless the guard objects"),
        ("Unless the owner objects, each tenant gets two keys.", "What is the exception to the rule that each tenant gets two keys?", "unless the owner objects"),
        # who, what, where, how
        ("The night porter signs the blue form.", "Who signs the blue form?", "The night porter"),
        ("The blue form is signed by the night porter.", "By whom is the blue form signed?", "the night porter"),
        ("Only the captain may open the sealed locker.", "Who may open the sealed locker?", "Only the captain"),
        ("Wet nets are hung in the drying loft.", "Where are wet nets hung?", "in the drying loft"),
        ("Late claims are sent on form K-12.", "On which form are late claims sent?", "form K-12"),
        ("Late claims are made in writing.", "How are late claims made?", "in writing"),
        ("A rope that is frayed is cut up and burnt.", "What happens to a rope that is frayed?", "cut up and burnt"),
        # prohibitions and permissions
        ("Salt is never used on a wet floor.", "May salt be used on a wet floor?", "No"),
        ("A trainee guide who is alone must not open the locker.", "What must a trainee guide who is alone not do?", "open the locker"),
        # definitions
        ('"Slack tide" means a stream below 0.3 knots.', 'What does "Slack tide" mean?', "a stream below 0.3 knots"),
        ('"Slack tide" means a stream below 0.3 knots.', "Which term means a stream below 0.3 knots?", "Slack tide"),
        ("The Harbour Duty Officer (HDO) is called first.", "What does HDO stand for?", "Harbour Duty Officer"),
        ("A fender is any cushion that keeps two hulls apart.", "What is a fender?", "any cushion that keeps two hulls apart"),
    ],
)  # fmt: skip
def test_a_sentence_is_asked_for(text, question, short):
    """Each kind of statement becomes its question, with the canonical answer."""
    found = ask(text)
    anchored = {
        key.partition('", ')[2].capitalize().casefold(): value for key, value in found.items() if key.count('", ')
    }
    assert found.get(question, anchored.get(question.casefold())) == short, found


def test_labelled_bullets_name_their_section():
    """A label is asked for under its section's title, whole."""
    found = ask("- Default target: 92 to 96%.\n- Wet floor: mop it, then set out two signs.\n")
    assert found['Under "Cold store", what is the default target?'] == "92 to 96%"
    assert found['Under "Cold store", what applies to wet floor?'] == "mop it, then set out two signs"


def test_table_cells_are_asked_for_by_row_and_column():
    """Fixed-width and pipe tables give a cell with its column's unit, and never a cell for a repeated row name."""
    text = "    Lamp     Flow (L/min)   Colour\n    Small    4              red\n    Large    10             blue\n"
    piped = "| Lamp | Flow (L/min) | Colour |\n|---|---|---|\n| Small | 4 | red |\n| Large | 10 | blue |\n"
    for layout in (text, piped):
        found = ask(layout)
        assert found['In the table "Cold store", what stands under "Flow" for lamp Large?'] == "10 L/min"
        assert found['In the table "Cold store", what stands under "Colour" for lamp Small?'] == "red"


def test_a_table_cut_by_the_chunker_takes_its_header_from_the_context():
    """Rows at the head of a passage are read under the header that stands in its context."""
    found = ask("Small    4    red\nLarge    10   blue\n", context="3 Cold store\nLamp     Flow (L/min)   Colour")
    assert found['In the table "Cold store", what stands under "Flow" for lamp Large?'] == "10 L/min"


def test_hard_wrapped_lines_are_one_sentence():
    """A sentence goes on over its line's end, and the evidence keeps the line break."""
    pairs = RuleTeacher().teach([chunk("3.4 A pump must be tested every\n6 weeks by the duty engineer.\n", start=100)])
    often = next(pair for pair in pairs if pair.kind == "frequency:how-often")
    assert often.short_answer == "every 6 weeks"
    assert often.evidence[0].text == "A pump must be tested every\n6 weeks by the duty engineer."
    assert (often.evidence[0].start, often.evidence[0].end) == (104, 104 + len(often.evidence[0].text))


def test_a_pronoun_is_taken_for_the_subject_before_it():
    """ "It" after a passive sentence is its subject; both sentences are evidence."""
    text = "The rescue ladder is inspected every month. It carries a red lamp."
    pairs = [pair for pair in RuleTeacher().teach([chunk(text)]) if "ladder carry" in pair.question]
    assert {"a red lamp"} == {pair.short_answer for pair in pairs}
    assert all(len(pair.evidence) == 2 for pair in pairs)


# --- what is left -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "It is closed within 12 hours of departure.",
        "They must be tested every 6 weeks.",
        "This is repeated after 20 minutes.",
        "Such lamps are kept for 5 years.",
        "You should call us within 3 days.",
        "We keep the lamps for 5 years.",
        "closed within 12 hours of departure.",
        "The pump must be tested every",
        "Is the pump tested every 6 weeks?",
        "Run `make lamps` every 6 weeks.",
        "Then the limits above are checked every 6 weeks.",
    ],
)
def test_what_leans_on_another_sentence_is_left_out(text):
    """Pronouns without their noun, speech to the reader, fragments and questions are not taught."""
    assert ask(text) == {}


def test_a_bullet_is_never_taught_without_its_negation():
    """Under "Do not:", a bullet is taught as forbidden; where only the context has the lead-in, too."""
    inside = ask("Do not:\n- rinse the silver ladle with salt;\n- heat the glass jug.\n\nNext.\n")
    outside = ask("- rinse the silver ladle with salt;\n- heat the glass jug.\n", context="3 Cold store\nDo not:")
    for found in (inside, outside):
        assert found
        assert all("not" in question or "never" in question or "avoided" in question for question in found), found
    assert (
        inside['Under "Cold store", what should you not do?'] == "rinse the silver ladle with salt; heat the glass jug"
    )


def test_a_list_that_goes_on_elsewhere_is_not_asked_for_whole():
    """The last item of a passage may not be the list's last."""
    found = ask("When closing the shop:\n- Lock the side door.\n- Switch off the lamps.\n")
    assert not any("closing the shop" in question for question in found)


def test_a_question_with_two_answers_is_dropped():
    """The same question about two sentences has no one right answer."""
    found = ask("A pump must be tested every 6 weeks.\n\nA pump must be tested every 9 weeks.\n")
    assert not any("often" in question for question in found)


def test_worked_examples_are_left_out():
    """The sentences of a case need each other."""
    assert ask("The blue lamps are kept for 5 years.", heading="Appendix E. Worked examples") == {}


def test_prose_and_poetry_yield_little():
    """What is no protocol is left alone rather than asked wrongly."""
    poem = "I wandered through the sleeping town,\nand every lamp was burning low;\nthe river carried, grey and brown,\nits load of late and melting snow.\n"
    tale = (
        "She had never liked the harbour. When the ships came in, her father would stand at the window and count them, and "
        "he was always wrong. That evening there were nine. He said eleven, and nobody laughed.\n"
    )
    assert ask(poem, heading="") == {}
    assert ask(tale, heading="") == {}


# --- bans by layout ---------------------------------------------------------------------------------------------------

BANNED = [
    "Store flammable liquids in the boiler room",
    "Install a sign on the roof of the building",
    "Park vehicles in front of the fire exit",
    "Open the rear gate after 18:00",
]
BAN_LEADS = [
    *["Do not:", "Do NOT:", "DO NOT:", "DO NOT", "Do not", "**Do not:**", "**Do not**", "### Do not", "## Do not", "Don't:", "Don'ts:", "Never:", "NEVER:", "Never"],
    *["- Do not:", "1. Do not:", "(2) Do not:", "2) Never:", "* Never:", "> Do not:", "3.3 Do not:", "3.3 Prohibited", "## Prohibited", "a) The Tenant must not:", "Step 2. Do not:"],
    *["Avoid:", "Avoid the following:", "Things to avoid", "What not to do", "Prohibited:", "Forbidden:", "It is forbidden to:", "The following are prohibited:", "Refrain from the following:"],
    *["Staff shall refrain from these:", "Under no circumstances:", "Staff must not, under any circumstances:", "No employee may:", "Nobody may:", "Only the warden may:"],
    *["Common mistakes:", "Bad practice:", "Incorrect:", "Breaches:", "Exceptions:", "Not covered:", "Examples of misuse:", "Do not do the following.", "Unless the alarm is off, do not:"],
    *["The Tenant shall not do or permit any of the following acts", "The following acts are grounds for dismissal:", "It is a breach of duty to:"],
]  # fmt: skip
MARKS = ["- ", "  - ", "* ", "{n}. ", "{n}) ", "({a}) ", "{a}. ", "   ({r}) ", ""]


def taught_of(text: str) -> list[QAPair]:
    """The pairs of a whole document."""
    return RuleTeacher().teach(Chunker().split(text))


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("lead", BAN_LEADS)
def test_what_is_banned_is_never_taught_as_an_order(lead, mark):
    """Whatever the layout, a pair about a banned thing says that it is banned, in its question and in its answer."""
    for items in ([f"{item}." for item in BANNED], [item[0].lower() + item[1:] + ";" for item in BANNED]):
        marked = [
            mark.format(n=number + 1, a="abcd"[number], r=["i", "ii", "iii", "iv"][number]) + item
            for number, item in enumerate(items)
        ]
        for gap, between in (("\n", "\n"), ("\n\n", "\n"), ("\n\n", "\n\n")):
            text = f"SAFETY\n\nThe lamp is checked every week.\n\n{lead}{gap}{between.join(marked)}\n\nThe gate closes at noon.\n"
            for pair in taught_of(text):
                if any(
                    word in f"{pair.question} {pair.answer}" for word in ("boiler", "roof", "fire exit", "rear gate")
                ):
                    said = f"{pair.question} {pair.short_answer}"
                    assert re.search(r"\b(?:not|never|avoided|only|grounds|no)\b", said, re.IGNORECASE), pair
                    assert re.search(r"\b(?:not|never|only|grounds|No)\b", pair.answer, re.IGNORECASE), pair


@pytest.mark.parametrize(
    "text",
    [
        # an item's own list, a paragraph inside an item, a paragraph between items, one list in another
        "Do not:\n- move the drum:\n  - Open the rear gate after 18:00.\n  - Park vehicles in front of the fire exit.\n",
        "Do not:\n- Weld near the drum.\n\n  Open the rear gate after 18:00.\n- Open the rear gate after 18:00.\n",
        "Do not:\n- Weld near the drum.\n\nThe drum is old.\n\n- Open the rear gate after 18:00.\n",
        "1. Close the lid of the drum.\n2. While the pump is running, do not:\n   - Open the rear gate after 18:00.\n",
        "| Do | Don't |\n|---|---|\n| Wash the blade by hand | Open the rear gate after 18:00 |\n| Dry the blade | Soak it |\n",
    ],
)
def test_a_ban_reaches_what_stands_below_it(text):
    """Nested and interrupted lists keep the lead-in of the list around them."""
    for pair in taught_of(f"# Yard\n\nThe lamp is checked every week.\n\n{text}\nThe gate closes at noon.\n"):
        if "rear gate" in pair.answer or "fire exit" in pair.answer:
            assert re.search(r" (?:not|never|avoided)\b", pair.question), pair


def test_a_ban_reaches_over_the_passage_s_edge():
    """The context of a later passage holds the lead-in, whatever its marks; so does a heading."""
    items = "- Store the blue drum in the boiler room after 18:00.\n- Open the rear gate.\n"
    for lead in ("**Do not:**", "- Do not:", "(2) Do not:", "5.2 The Tenant must not:", "DO NOT:"):
        found = ask(items, context=f"3 Cold store\n{lead}")
        assert found
        assert all(re.search(r"\bnot\b", question) or short == "No" for question, short in found.items()), lead
    assert ask(items, heading="3.1 Prohibited", context="3 Cold store > 3.1 Prohibited") == {}
    assert all("not" in question for question in ask(items, heading="Do not"))
    begun = ask("Open the rear gate after 18:00.\n" + items, context="3 Cold store\nDo not:")
    assert all("not" in question or short == "No" for question, short in begun.items())
    numbered = ask("13. Store the drum in the boiler room after 18:00.\n14. Open it.\n", context="3 Cold store\nNever:")
    assert numbered
    assert all("never" in question for question in numbered)
    # where the context lacks the lead-in, nothing that looks like an order is one
    assert ask(items) == {}
    assert ask("13. Store the blue drum in the boiler room after 18:00.\n14. Open the rear gate by noon.\n") == {}
    assert ask("The drum is hot.\n" + items).keys() == ask("The drum is hot.").keys()


def test_a_list_ends_where_its_lead_in_s_kind_goes_on():
    """The paragraph after a list of bans is an order again; so is the next item of the outer list."""
    numbered = ask(
        "5.1 The Tenant shall not:\n(a) open the rear gate after 18:00;\n(b) keep a dog.\n5.2 The Tenant pays the blue fee by 30 June.\n"
    )
    assert numbered['Under "Cold store", by when does the Tenant pay the blue fee?'] == "by 30 June"
    nested = ask(
        "1. Do not:\n   - open the rear gate after 18:00;\n   - keep a dog in the yard.\n2. Close the front door by 30 June.\n"
    )
    assert 'Under "Cold store", by when should you close the front door?' in nested or (
        "By when should you close the front door?" in nested
    )


def test_an_item_is_asked_for_with_its_occasion():
    """What holds on an occasion is never asked for without it."""
    found = ask(
        "For night shifts:\n- The allowance is 18 per cent.\n- Breaks are taken every 3 hours.\n\nFor day shifts:\n- Breaks are taken every 4 hours.\n\nEnd.\n"
    )
    assert found['Under "For night shifts", how often are breaks taken?'] == "every 3 hours"
    assert found['Under "For day shifts", how often are breaks taken?'] == "every 4 hours"
    assert all("shifts" in question for question in found)


def test_two_lists_of_bans_are_not_asked_for_as_one():
    """What should not be done is in both lists."""
    found = ask(
        "Do not:\n- open the rear gate;\n- close the lid.\n\nNever:\n- move the drum;\n- lift the lamp.\n\nThe end is near.\n"
    )
    assert not any("not do?" in question or "be avoided" in question for question in found)


# --- what belongs together stays together -----------------------------------------------------------------------------


def test_a_label_holds_for_its_whole_paragraph():
    """What is said behind a label is asked for under the label, and never without it."""
    found = ask(
        "Level 1: the lamp is out. The warden is called within 5 minutes.\nLevel 2: the lamp flickers. The warden is called within 2 hours.\n"
    )
    assert found['Under "Level 1", within what time is the warden called?'] == "within 5 minutes"
    assert found['Under "Level 2", within what time is the warden called?'] == "within 2 hours"
    assert all("level" in question.lower() for question in found)


def test_a_fragment_that_opens_a_paragraph_is_its_topic():
    """ "In children under 12." is the case for which the next sentence holds."""
    found = ask("In huts above the tree line. The stove is lit every 6 hours.\n")
    assert found['Under "In huts above the tree line", how often is the stove lit?'] == "every 6 hours"
    assert all("tree line" in question for question in found)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        # another value or an exception stands behind
        ("The target pressure is 4 bar; in hard frost it is 6 bar.", r"."),
        ("Take the first sample before the fourth run. In hard frost take it before the second run.", r"first sample"),
        ("For night visits, the blue fee is halved. The fee is paid within 3 days.", r"within what time"),
        ("The warning limit is 2 bar and the action limit 3 bar.", r"warning limit"),
        ("Test results are reported within 4 days, rare ones within 12 days.", r"within what time|how soon"),
        ("Brass gauges are calibrated every 5 years, steel gauges every year.", r"every year"),
        ("Each locker holds 24 jackets; the locker on the upper deck holds 12.", r"each locker"),
        ("Cars are lashed in a gale. Lorries: the driver stays aboard. Vans are parked on the aft deck.", r"vans"),
        # clauses run together
        ("The owner frobs the roof against fire and the lodger frobs a third of the bill within 14 days of demand.", r"."),
        ("The clerk frobs the form and the cashier refunds the deposit within 3 days.", r"."),
        ("Take a single reading 6 hours after the first run and frob it on the chart.", r"how long|how many"),
        ("Stop the pump, give the red signal 3 times, and restart the fan.", r"give"),
        ("Drippers are flushed with acid once a month and the filters are replaced every 10 weeks.", r"when are drippers"),
        # a time is no place, a range is one amount, a phrase belongs to the noun before it
        ("Subletting is prohibited in the first two years of the term.", r"where"),
        ("Smoking is prohibited in the last hour of a shift.", r"where"),
        ("Humidity is kept from 35 % to 60 %.", r"from (?:exactly )?what|from which"),
        ("A permit is valid for one shift and never for more than 10 hours.", r"and never\b"),
        ("A letter sent by post is deemed read on the second working day after posting.", r"^(?:when|at what)"),
        # verbs that say too little, and those that forbid
        ("Tell all visitors of the mill to report dizziness at once.", r"what should you tell"),
        ("Show visitors the nearest exit of the building.", r"with visitors|you show"),
        ("Refuse entry to anyone without a badge.", r"you refuse"),
        ("Avoid opening the valve within 10 minutes of a purge.", r"within what time|how soon|how quickly"),
        ("Workers must not re-enter the mill until the warden gives the all-clear.", r"^(?:under [^,]*, )?may "),
    ],
)  # fmt: skip
def test_what_is_not_safe_to_ask_is_left(text, wrong):
    """Each of these was once asked wrongly: torn apart, run together, or without what restricts it."""
    found = ask(text)
    assert not any(re.search(wrong, question.casefold()) for question in found), found


def test_degrees_are_those_of_what_is_measured():
    """A temperature's degrees are no angle; where neither is said, nothing is asked."""
    assert 'Under "Cold store", at what temperature is the temperature of the vault held?' in ask(
        "The temperature of the vault is held at 16 degrees."
    ) or (
        "At what temperature is the temperature of the vault held?"
        in ask("The temperature of the vault is held at 16 degrees.")
    )
    assert any("angle" in question for question in ask("The mast of the crane is tilted to 30 degrees."))
    assert not any("angle" in question for question in ask("The west vault is held at 16 degrees."))


def test_emphasis_stays_out_of_questions_and_answers():
    """Markdown's marks are no words; the evidence keeps them."""
    pairs = RuleTeacher().teach(
        [
            chunk(
                "A count of *E. coli* in **raw milk** is reported within 3 days.\n\n| Test | Limit (mL) |\n|---|---|\n| *E. coli* count | 4 |\n| Yeast count | 9 |\n"
            )
        ]
    )
    assert len({pair.item for pair in pairs}) > 2
    assert not any("*" in f"{pair.question} {pair.short_answer} {pair.answer}" for pair in pairs)
    assert any("*E. coli*" in span.text for pair in pairs for span in pair.evidence)
    assert any("E. coli count" in pair.question for pair in pairs)


def test_conditions_in_a_list_are_asked_for_together():
    """ "Reject a sample if:" has all its items for an answer, none of them alone; "a; and b" has none."""
    lead = "Reject a parcel if:\n"
    found = ask(f"{lead}- the seal has been broken;\n- the box leaks.\n\nEnd.\n")
    assert (
        found['Under "Cold store", in what case should you reject a parcel?']
        == "the seal has been broken; the box leaks"
    )
    assert not any(question.startswith("When should you reject") for question in found)
    assert ask(f"{lead}- the seal has been broken; and\n- the box leaks.\n\nEnd.\n") == {}


def test_items_complete_their_lead_in():
    """A quoted term is defined by itself; a subject takes its verbs from below; what is banned needs no known verb."""
    assert (
        ask('1.1 In this Lease:\n(a) "Yard" means the land behind the mill;\n(b) "Fee" means the sum of 40 crowns.\n')[
            'What does "Yard" mean?'
        ]
        == "the land behind the mill"
    )
    duties = ask("The Mill Warden:\n- inspects every ladder once a month;\n- keeps the register for 6 years.\n\nEnd.\n")
    assert duties["For how long does the Mill Warden keep the register?"] == "6 years"
    banned = ask("Do not:\n- frob on a drum that has held tar;\n- leave a torch in the yard.\n\nEnd.\n")
    assert (
        banned['Under "Cold store", what should you not do?']
        == "frob on a drum that has held tar; leave a torch in the yard"
    )


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("If fewer than four are present, the gate stays shut.", "fewer than four"),
        ("A cut is washed for 15 minutes if it bleeds and reported within 2 hours.", "reported within 2 hours?"),
        ("Hoses have a burst pressure of four times the working pressure.", "do hoses have"),
        ("Start at 50 litres per hour for 10 minutes while the line is walked.", "When should you start"),
        ("Release takes place at 600 metres unless the instructor orders otherwise.", "should you release"),
        ("The glider pilot turns right after release.", "does the glider pilot turn"),
        ("Smoking is allowed only behind the clubhouse.", "allowed only"),
        ("Each pitch measures 4 by 6 metres and is meant for four persons.", "by what distance"),
    ],
)
def test_what_only_another_sentence_completes_is_not_asked(text, wrong):
    assert [] == [question for question in ask(text) if wrong in question]


def test_a_definition_may_name_the_document_first():
    found = ask('In this manual, "solo pilot" means a member who has flown alone at least once.')
    assert "a member who has flown alone at least once" == found['What does "solo pilot" mean?']
    assert {"a member who has flown alone at least once", "solo pilot"} == set(found.values())


def test_a_column_of_items_names_its_rows_unless_it_counts_them():
    rows = "Item             Members   Guests\nWinch launch     9 EUR     16 EUR\nAerotow          38 EUR    52 EUR\n"
    assert {"9 EUR", "16 EUR", "38 EUR", "52 EUR"} == set(ask(rows).values())
    numbered = "Item   Tool      Stock\n1      Hammer    4\n2      Saw       7\n"
    assert [] == [question for question in ask(numbered) if "item" in question.lower()]


def test_a_cell_that_points_elsewhere_is_no_answer():
    rows = "Rung     Flow (L/min)     Share\n1        4                0.28\n2        see 3.4          0.30\n"
    assert {"see 3.4"}.isdisjoint(short for short in ask(rows).values())
    assert {"4 L/min", "0.30"} <= set(ask(rows).values())


# --- layout and grammar -----------------------------------------------------------------------------------------------


def test_layout_tells_headings_bullets_and_leads():
    """A numbered heading, a lead-in with its bullets, a numbered paragraph that leaves the heading's scope, a title in line."""
    text = (
        "3 STORES\n\n3.1 Cold store\nKeep it shut.\n\nWhen closing:\n- Lock the door.\n- Switch off\n  the lamp.\n\n"
        "3.2 The key hangs on a hook.\n\n3.3 Night visits. A guard comes along.\n"
    )
    layout = lay_out(text)
    assert [
        ("Keep it shut.", "3.1 Cold store", False),
        ("When closing:", "3.1 Cold store", False),
        ("Lock the door.", "3.1 Cold store", True),
        ("Switch off the lamp.", "3.1 Cold store", True),
        ("The key hangs on a hook.", "3 STORES", False),
        ("A guard comes along.", "Night visits", False),
    ] == [(unit.text, unit.section, unit.bullet) for unit in layout.units]
    assert all(" ".join(text[unit.start : unit.end].split()) == unit.text for unit in layout.units)
    assert {"When closing:"} == {unit.lead.text for unit in layout.units if unit.lead}
    assert [("Lock the door.", "Switch off\n  the lamp.".replace("\n  ", " "))] == [
        listing.items for listing in layout.listings
    ]


@pytest.mark.parametrize(
    ("sentence", "inverted"),
    [
        ("The red lamp is cleaned daily", "is the red lamp cleaned daily"),
        ("The night porter carries a lamp", "does the night porter carry a lamp"),
        ("Shore patrols pass each berth", "do shore patrols pass each berth"),
        ("A hook that does not open is painted yellow", "is a hook that does not open painted yellow"),
        (
            "A record that has been lost and reappears shall be burnt",
            "shall a record that has been lost and reappears be burnt",
        ),
        ("Never open the sealed box", "should you never open the sealed box"),
        ("The deputy may not sign the list", "may the deputy not sign the list"),
        ("Internal Audit reads the log", "does Internal Audit read the log"),
    ],
)
def test_a_statement_is_turned_round(sentence, inverted):
    """Auxiliaries change places with the subject; other verbs take "do"."""
    clause = parse(sentence)
    assert clause is not None
    assert clause.inverted() == inverted


@pytest.mark.parametrize(
    "sentence",
    [
        "Although it rained, the ships came",
        "Quickly and without a word",
        "He signs the list",
        "There is one key on each floor",
    ],
)
def test_what_is_not_read_safely_is_not_read(sentence):
    """None rather than a guess."""
    assert parse(sentence) is None

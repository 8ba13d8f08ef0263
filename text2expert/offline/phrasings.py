"""Question wordings: for each kind of fact, templates over the slots that `text2expert.offline.rules` fills.

Every template is a natural question by itself. ``{in_topic}`` opens with the section's title; a template that has it is
left out where the section has none.
"""

import re
from collections.abc import Iterator, Mapping

from text2expert.offline.clauses import upper_first
from text2expert.offline.units import squeeze

TEMPLATES: dict[str, dict[str, str]] = {
    "deadline": {
        "within-time": "Within what time{of} {inv}?",
        "how-soon": "How soon{after} {inv}?",
        "within-units": "Within how many {unit}{of} {inv}?",
        "how-quickly": "{front_after}how quickly {inv}?",
        "echo": "{stmt} within what time{of}?",
        "topic": "{in_topic}within what time{of} {inv}?",
    },
    "ban": {
        "how-long": "For how long after {event} {inv}?",
        "units": "For how many {unit} after {event} {inv}?",
        "length": "For what length of time after {event} {inv}?",
        "echo": "{stmt} for how long after {event}?",
        "topic": "{in_topic}for how long after {event} {inv}?",
    },
    "offset": {
        "how-long": "How long {side} {event} {inv}?",
        "how-many": "How many {unit} {side} {event} {inv}?",
        "how-much": "How much time {side} {event} {inv}?",
        "echo": "{stmt} how long {side} {event}?",
        "topic": "{in_topic}how long {side} {event} {inv}?",
    },
    "duration": {
        "for-how-long": "For how long {inv}?",
        "how-long": "How long {inv}?",
        "length": "For what length of time {inv}?",
        "for-units": "For how many {unit} {inv}?",
        "echo": "{stmt} for how long?",
        "topic": "{in_topic}for how long {inv}?",
    },
    "lasting": {
        "how-long": "How long {inv}?",
        "units": "How many {unit} {inv}?",
        "length": "What length of time {inv}?",
        "echo": "{stmt} how long?",
        "topic": "{in_topic}how long {inv}?",
    },
    "elapse": {
        "after-how-long": "After how long {inv}?",
        "after-time": "After what time {inv}?",
        "after-units": "After how many {unit} {inv}?",
        "after-length": "After what length of time {inv}?",
        "echo": "{stmt} after how long?",
        "topic": "{in_topic}after how long {inv}?",
    },
    "frequency": {
        "how-often": "How often {inv}?",
        "how-frequently": "How frequently {inv}?",
        "interval": "At what interval {inv}?",
        "regularly": "How regularly {inv}?",
        "echo": "{stmt} how often?",
        "topic": "{in_topic}how often {inv}?",
    },
    "times": {
        "how-many": "How many times {inv}?",
        "exactly": "Exactly how many times {inv}?",
        "number": "What number of times {inv}?",
        "echo": "{stmt} how many times?",
        "topic": "{in_topic}how many times {inv}?",
    },
    "manner": {
        "how": "How {inv}?",
        "way": "In what way {inv}?",
        "means": "By what means {inv}?",
        "echo": "{stmt} in what way?",
        "topic": "{in_topic}how {inv}?",
    },
    "event": {
        "when": "When {inv}?",
        "point": "At what point {inv}?",
        "stage": "At what stage {inv}?",
        "echo": "{stmt} when?",
        "topic": "{in_topic}when {inv}?",
    },
    "moment": {
        "wh": "{wh} {inv}?",
        "when": "When {inv}?",
        "when-exactly": "When exactly {inv}?",
        "echo": "{stmt} {wh}?",
        "topic": "{in_topic}{wh} {inv}?",
    },
    "timing": {
        "when": "When {inv}?",
        "point": "At what point {inv}?",
        "stage": "At what stage {inv}?",
        "echo": "{stmt} when?",
        "topic": "{in_topic}when {inv}?",
    },
    "until": {
        "until-when": "Until when {inv}?",
        "up-to": "Up to what point {inv}?",
        "how-long": "How long {inv}?",
        "echo": "{stmt} until when?",
        "topic": "{in_topic}until when {inv}?",
    },
    "measure": {
        "what": "{prep} what {quantity}{of} {inv}?",
        "which": "{prep} which {quantity}{of} {inv}?",
        "echo": "{stmt} {prep} what {quantity}{of}?",
        "topic": "{in_topic}{prep} what {quantity}{of} {inv}?",
        "exactly": "{prep} exactly what {quantity}{of} {inv}?",
    },
    "limit": {
        "not-exceed": "What must {subject} not exceed?",
        "upper": "What is the upper limit for {subject}?",
        "most": "What is the most that {subject} may reach?",
        "which-limit": "Which limit applies to {subject}?",
        "topic": "{in_topic}what is the upper limit for {subject}?",
    },
    "value": {
        "what": "What {be} {subject}?",
        "figure": "What figure is given for {subject}?",
        "laid-down": "What is laid down as {subject}?",
        "echo": "{subject} {be} what?",
        "topic": "{in_topic}what {be} {subject}?",
    },
    "size": {
        "how": "How {adjective} {be} {subject}?",
        "exactly": "Exactly how {adjective} {be} {subject}?",
        "echo": "{subject} {be} how {adjective}?",
        "topic": "{in_topic}how {adjective} {be} {subject}?",
    },
    "required-value": {
        "what": "What must {subject} be?",
        "value": "What value must {subject} have?",
        "required": "What is required of {subject}?",
        "echo": "{subject} must be what?",
        "topic": "{in_topic}what must {subject} be?",
    },
    "count": {
        "how-many": "How many {counted} {inv}?",
        "number": "What number of {counted} {inv}?",
        "exactly": "Exactly how many {counted} {inv}?",
        "echo": "{stmt} how many {counted}{left}?",
        "topic": "{in_topic}how many {counted} {inv}?",
    },
    "count-subject": {
        "how-many": "How many {counted} {predicate}?",
        "number": "What number of {counted} {predicate}?",
        "exactly": "Exactly how many {counted} {predicate}?",
        "topic": "{in_topic}how many {counted} {predicate}?",
    },
    "condition-order": {
        "what-if": "What should be done {condition}?",
        "front": "{condition}, what should be done?",
        "action": "What is the required action {condition}?",
        "what-to-do": "What do you have to do {condition}?",
        "topic": "{in_topic}what should be done {condition}?",
        "asks": "What is called for {condition}?",
    },
    "condition": {
        "what-if": "What happens {condition}?",
        "front": "{condition}, what happens?",
        "rule": "What is the rule {condition}?",
        "applies": "What applies {condition}?",
        "topic": "{in_topic}what happens {condition}?",
        "follows": "What follows {condition}?",
    },
    "when": {
        "when": "When {inv}?",
        "case": "In what case {inv}?",
        "condition": "Under what condition {inv}?",
        "situation": "In which situation {inv}?",
        "echo": "{stmt} under what condition?",
        "topic": "{in_topic}when {inv}?",
    },
    "case": {
        "case": "In what case {inv}?",
        "condition": "Under what condition {inv}?",
        "situation": "In which situation {inv}?",
        "echo": "{stmt} in what case?",
        "topic": "{in_topic}in what case {inv}?",
    },
    "exception": {
        "rule": "What is the exception to the rule that {stmt}?",
        "not-apply": "When does the rule that {stmt} not apply?",
        "which": "Which exception is there to the rule that {stmt}?",
        "stated": "As a rule, {stmt}. What is the exception?",
        "topic": "{in_topic}what is the exception to the rule that {stmt}?",
    },
    "who": {
        "who": "Who {predicate}?",
        "body": "Which person or body {predicate}?",
        "it-is": "Who is it that {predicate}?",
        "topic": "{in_topic}who {predicate}?",
        "say": "Can you say who {predicate}?",
    },
    "by-whom": {
        "by-whom": "By whom {inv}?",
        "who-by": "Who {inv} by?",
        "body": "By which person or body {inv}?",
        "echo": "{stmt} by whom?",
        "topic": "{in_topic}by whom {inv}?",
    },
    "subject": {
        "what": "What {predicate}?",
        "it-is": "What is it that {predicate}?",
        "which": "Which thing {predicate}?",
        "topic": "{in_topic}what {predicate}?",
        "say": "Can you say what {predicate}?",
    },
    "treatment": {
        "happens": "What happens to {subject}?",
        "done": "What is done with {subject}?",
        "becomes": "What becomes of {subject}?",
        "rule": "What is the rule for {subject}?",
        "topic": "{in_topic}what happens to {subject}?",
    },
    "order": {
        "what": "What should you {negation}do with {object}?",
        "done": "What should {negation}be done with {object}?",
        "rule": "What is the rule for {object}?",
        "action": "Which action is laid down for {object}?",
        "topic": "{in_topic}what should {negation}be done with {object}?",
    },
    "instrument": {
        "what-with": "What {inv} with?",
        "with-what": "With what {inv}?",
        "which": "With which thing or things {inv}?",
        "echo": "{stmt} with what?",
        "topic": "{in_topic}what {inv} with?",
    },
    "recipient": {
        "to-whom": "To whom {inv}?",
        "body": "To which person or body {inv}?",
        "who-to": "Who {inv} to?",
        "echo": "{stmt} to whom?",
        "topic": "{in_topic}to whom {inv}?",
    },
    "treatment-modal": {
        "done": "What {modal} be done with {subject}?",
        "happens": "What {modal} happen to {subject}?",
        "rule": "What is the rule for {subject}?",
        "required": "What treatment of {subject} is laid down?",
        "topic": "{in_topic}what {modal} be done with {subject}?",
    },
    "duty": {
        "what": "What {modal} {subject} {negation}do?",
        "rule": "What is the rule for {subject}?",
        "echo": "{subject} {modal} {negation}do what?",
        "exactly": "What exactly {modal} {subject} {negation}do?",
        "topic": "{in_topic}what {modal} {subject} {negation}do?",
    },
    "object": {
        "what": "What {inv}?",
        "exactly": "What exactly {inv}?",
        "is-it": "What is it that {stmt}?",
        "echo": "{stmt} what?",
        "topic": "{in_topic}what {inv}?",
    },
    "place": {
        "where": "Where {inv}?",
        "place": "In what place {inv}?",
        "echo": "{stmt} where?",
        "exactly": "Where exactly {inv}?",
        "topic": "{in_topic}where {inv}?",
    },
    "reference": {
        "which": "{prep} which {noun} {inv}?",
        "what": "{prep} what {noun} {inv}?",
        "echo": "{stmt} {prep} which {noun}?",
        "topic": "{in_topic}{prep} which {noun} {inv}?",
        "exactly": "{prep} exactly which {noun} {inv}?",
    },
    "why": {
        "why": "Why {inv}?",
        "reason": "For what reason {inv}?",
        "what-reason": "What is the reason that {stmt}?",
        "echo": "{stmt} for what reason?",
        "topic": "{in_topic}why {inv}?",
    },
    "permission": {
        "may": "{yes_no}?",
        "allowed": "Is it true that {stmt_positive}?",
        "topic": "{in_topic}{yes_no}?",
        "rules": "Do the rules say that {stmt_positive}?",
    },
    "definition": {
        "mean": 'What does "{term}" mean?',
        "meant": 'What is meant by "{term}"?',
        "defined": 'How is "{term}" defined?',
        "definition": 'What is the definition of "{term}"?',
        "topic": '{in_topic}what does "{term}" mean?',
        "understood": 'What is to be understood by "{term}"?',
    },
    "meaning": {
        "mean": "What does {subject} mean?",
        "meaning": "What is the meaning of {subject}?",
        "stated": "What is {subject} said to mean?",
        "echo": "{subject} means what?",
        "topic": "{in_topic}what does {subject} mean?",
    },
    "what-is": {
        "what": "What is {subject}?",
        "defined": "How is {subject} defined?",
        "meant": "What is meant by {subject}?",
        "echo": "{subject} is what?",
        "topic": "{in_topic}what is {subject}?",
    },
    "list-ban": {
        "what": "What should you not do?",
        "which": "Which actions should be avoided?",
        "never": "What must not be done?",
        "topic": "{in_topic}what should never be done?",
    },
    "list-which": {
        "which": "Which {noun} {predicate}?",
        "what": "What {noun} {predicate}?",
        "all": "Which are all the {noun} that {predicate}?",
        "topic": "{in_topic}which {noun} {predicate}?",
    },
    "term": {
        "which": "Which term means {meaning}?",
        "what": "What is the term for {meaning}?",
        "called": "What is {meaning} called?",
        "word": "Which word or phrase stands for {meaning}?",
    },
    "abbreviation": {
        "stand": "What does {term} stand for?",
        "full": "What is {term} short for?",
        "spelt": "What is {term} in full?",
        "abbreviate": "What does the abbreviation {term} mean?",
        "written-out": "How is {term} written out in full?",
    },
    "label": {
        "applies": "{in_topic}what applies to {label}?",
        "stated": "{in_topic}what is stated for {label}?",
        "given": "{in_topic}what is given for {label}?",
        "says": 'What does "{topic}" say about {label}?',
        "entry": 'What is the entry for {label} under "{topic}"?',
    },
    "label-value": {
        "what": "{in_topic}what {be} {the_label}?",
        "plain": 'What {be} {the_label} under "{topic}"?',
        "stated": "{in_topic}what is stated for {label}?",
        "says": 'What does "{topic}" give as {the_label}?',
        "echo": "{in_topic}{the_label} {be} what?",
    },
    "cloze": {
        "complete": 'Complete the sentence: "{gap}" What stands in the gap?',
        "missing": 'What is missing in "{gap}"?',
        "fill": 'Which words fill the gap in "{gap}"?',
    },
    "cell": {
        "stands": 'In the table "{topic}", what stands under "{column}" for {row}?',
        "given": 'What is given under "{column}" for {row} in the table "{topic}"?',
        "gives": 'What does the table "{topic}" give as "{column}" for {row}?',
        "lists": 'For {row}, what does the table "{topic}" list under "{column}"?',
        "entry": 'Which entry does the table "{topic}" have under "{column}" for {row}?',
    },
    "entry": {
        "listed": '{in_topic}what is listed for "{row}"?',
        "entry": 'What is the entry for "{row}" under "{topic}"?',
        "stands": 'What does the list "{topic}" give for "{row}"?',
        "beside": '{in_topic}what stands beside "{row}"?',
    },
}
"""Kind -> template's name -> template."""

MOST = 220
"""Characters of a question at most: longer ones are not asked by people."""


def questions(kind: str, slots: Mapping[str, str], topic: str, *, anchored: bool) -> Iterator[tuple[str, str]]:
    """(template's name, question) in every wording of *kind* that its slots and topic allow.

    Args:
        kind: A key of `TEMPLATES`.
        slots: What the templates' names stand for.
        topic: The section's title, "" where there is none.
        anchored: Whether the question must name the section, since its subject alone would not tell what is asked.
    """
    quoted = topic.replace('"', "'")
    places = ('Under "{}", ', 'In "{}", ', 'According to "{}", ')
    for number, (name, template) in enumerate(TEMPLATES[kind].items()):
        if "topic}" in template and not topic:
            continue
        if slots.get("negation") and "{negation}" not in template:
            continue  # the answer would read as an order
        prefix = places[number % len(places)].format(quoted) if topic else ""
        filled = template.format_map({**slots, "in_topic": prefix, "topic": quoted})
        if anchored and "topic}" not in template:
            if not topic:
                continue
            filled = prefix + filled[0].lower() + filled[1:] if filled[1:2].islower() else prefix + filled
        filled = re.sub(r"\b([ap]\.m)\?$", r"\1.?", filled)
        question = upper_first(squeeze(filled).replace(" ?", "?").replace(",?", "?").replace(" ,", ","))
        if len(question) <= MOST:
            yield name, question

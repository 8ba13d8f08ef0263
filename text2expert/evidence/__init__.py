"""Mechanical grounding: does the passage say what the answer says? Free, without a model, about a millisecond a pair.

    quote ──locate──▶ offsets          question, answer, passage ──check──▶ Grounding(grounded, ..., reason)

What is compared, statement by statement: numbers with their units and comparators, negation, direction words, the content
words of the answer, and whether the question belongs to the statements that carry the answer.

What it cannot see: a dropped condition, a list cut short, one name put for another that also stands in the passage, a
conclusion that needs thought. ``complete`` is judged only as far as the kind of answer goes (no number where "how many"
was asked). That is what a model verifier is for; this one runs first, so that no money is spent on what fails here.

    quotes       a quote's place, however typography and line breaks changed
    wording      English: stems, synonyms, opposites, negations
    units        units in all their spellings
    quantities   numbers with their units and comparators, clock times
    tokens       a text as words, numbers and boundaries
    leads        what a list's lead-in or a heading forbids
    statements   a text as sentences, bullets and table rows, each with what it is read with
    stance       what a statement denies and which way it points
    pair         a question and an answer beside their source
    cues, rates, dates, arithmetic    numbers that follow from others
    amounts, polarity, relevance    what does not fit: numbers; negation and direction; words and the question
    grounding    the one judgement
"""

from text2expert.evidence.grounding import Grounding, check
from text2expert.evidence.quotes import locate

__all__ = ["Grounding", "check", "locate"]

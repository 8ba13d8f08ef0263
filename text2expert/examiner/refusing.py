"""Whether an answer says that it does not know, or that the text does not say.

A rule that forbids ("oxygen is not given", "no record is kept") is no refusal: what verb, participle or noun says by itself
that a text tells something (state, mention, information) counts anywhere, any other only where it is said of a text.
"""

import re

from text2expert.evidence.quantities import quantities, same_quantity
from text2expert.evidence.tokens import tokens
from text2expert.evidence.units import ORDINAL

LONGEST = 4_000
"""Characters, ten times the longest answer that is read for what it says: what the rules read takes some hundredths of a second."""

_TEXT = (
    r"(?:texts?|documents?|handbook|manual|protocols?|polic(?:y|ies)|procedures?|passages?|sources?|context|guide(?:lines?)?|"
    r"rules?|regulations?|lease|contract|agreement|sections?|materials?|sop|standard|leaflet|instructions?|notes?|file|record)"
)
_ASPECT = (
    r"(?:answer|information|details?|values?|numbers?|figures?|amounts?|dates?|names?|data|prices?|costs?|reasons?|question|"
    r"definition|mention|indication|this|that|it)"
)
_NOT = r"(?:\ not|n['’]t|\ never)"
_TELL = r"(?:say|state|mention|specify|tell|indicate|disclose|clarify|address|discuss|stipulate|deal\ with|make\ clear)"
_HOLD = (
    r"(?:give|cover|contain|provide|include|answer|name|list|record|describe|define|explain|set\ out|detail|know|have|"
    r"speak|regulate|lay\ down|prescribe)"
)
_TOLD = r"(?:stated|specified|mentioned|indicated|disclosed|known|addressed|discussed|stipulated|clear)"
_HELD = (
    r"(?:given|covered|provided|included|listed|recorded|available|found|described|named|contained|set\ out|answered|"
    r"defined|documented|explained|regulated|detailed)"
)
_KNOW = (
    r"(?:know|sure|certain|aware|find|answer|say|tell|able|determine|recall|remember|told|seen|information|idea|clue|have\ (?:any|that|this|the|"
    r"enough|such))"
)

_ENGLISH = re.compile(
    rf"""
    \b(?:i|we)\b(?:['’]m|['’]ve|\ am|\ are|\ do|\ did|\ can|\ could|\ have|\ was|\ were|\ would)?(?:\ not|not|n?['’]t)\b[^.;!?]{{0,40}}?\b{_KNOW}\b
    | \b(?:i|we)\b\ (?:have|lack)\ (?:no|any)\b
    | \b(?:i|we)\b\ (?:would|['’]d)\ rather\ not\b
    | \bunable\ to\ (?:say|answer|tell|determine|find|provide|give|help)\b
    | \b(?:cannot|can['’]t|can\ not|could\ not|couldn['’]t)\ (?:\w+\ ){{0,2}}?be\ (?:answered|determined|inferred|derived|known|established|concluded)\b
    | \bnot\ (?:possible\ to\ (?:say|tell|determine|answer)|enough\ information)\b
    | \b(?:does|did){_NOT}\ (?:\w+\ )?{_TELL}\b
    | \b{_TEXT}\b(?:\ \S+){{0,3}}?\ do{_NOT}\ (?:\w+\ )?(?:{_TELL}|{_HOLD})\b
    | \b{_TEXT}\b(?:\ \S+){{0,3}}?\ (?:(?:does|did){_NOT}|never|nowhere|fails?\ to)\ (?:\w+\ )?(?:{_HOLD}s?|{_TELL}s?)\b
    | \b(?:they|it)\ (?:do|does|did){_NOT}\ (?:\w+\ )?{_TELL}\b
    | \b(?:it|this|that)\ (?:does|did){_NOT}\ (?:answer|contain\ (?:that|this|any|the)\ (?:answer|information|details?))\b
    | \b(?:is|are|was|were|been|be){_NOT}(?:\ \w+){{0,2}}?\ {_TOLD}\b
    | \b(?:is|are|was|were|been|be){_NOT}(?:\ \w+){{0,2}}?\ {_HELD}(?:\ \w+){{0,2}}?\ (?:in|by|within|from)\ (?:\w+\ ){{0,3}}?{_TEXT}\b
    | \b{_ASPECT}\ (?:is|are|was|were|has\ been){_NOT}\ (?:\w+\ )?{_HELD}\b(?=\s*(?:[.,;:]|$|(?:here|there|in|by|anywhere)\b))
    | (?:^|:)\W*not\ (?:\w+\ )?(?:{_TOLD}|{_HELD})\b
    | \bno\ (?:\w+\ ){{0,4}}?(?:is|are|was|were|has\ been|have\ been)\ (?:\w+\ )?(?:{_TOLD}|named)\b
    | \bno\ {_ASPECT}\b(?:\ \w+){{0,5}}?\ (?:is|are|was|were)\ (?:\w+\ )?{_HELD}\b
    | \bno\ (?:\w+\ ){{0,4}}?(?:is|are|was|were)\ {_HELD}\ (?:in|by|within)\ (?:\w+\ ){{0,3}}?{_TEXT}\b
    | \b{_TEXT}\b(?:\ \S+){{0,3}}?\ (?:gives?|contains?|provides?|makes?|names?|lists?|has|have|states?|specif(?:y|ies)|mentions?)\ (?:nothing|no(?!\ (?:more|less|fewer|later|longer|earlier|sooner)\b)|neither)\b
    | \b{_TEXT}\b[^.;!?]{{0,60}},?\ but\ (?:no|not\ (?:the|any|an?))\ (?!(?:more|less|fewer|later|longer)\b)[^.;,!?]{{1,40}}(?=[.;!?]|$)
    | \b(?:says?|said|states?|mentions?|told|tells?)\ (?:nothing|no\ (?:word|more\ about))\b
    | \bnothing\ (?:(?:is|was|has\ been)\ (?:said|stated|mentioned|specified|written|known)|about|on\ (?:this|that)|in\ (?:\w+\ ){{0,3}}?{_TEXT})\b
    | \bleaves?\ (?:this|that|it)\ (?:point\ |question\ )?open\b | \bis\ left\ open\b
    | \bnot\ something\ (?:that\ )?(?:\w+\ ){{0,2}}?{_TEXT}\b
    | \bnot\ (?:a\ word|anything)\ (?:is\ (?:said|written)|about|on)\b
    | \b(?:there(?:['’]s|\ is|\ are|\ was|\ were)|with)\ (?:no|not\ any|n['’]t\ any)\ (?:\w+\ )?(?:information|mention|indication|data|details?|answer|statement|reference|word)\b
    | \b(?:no|insufficient|lack\ of|without|missing)\ (?:\w+\ )?information\b | \bno\ (?:mention|idea|indication|answer\ to)\b
    | \b(?:unknown|unanswerable|unspecified|unstated|undisclosed|unclear)\b | \bsilent\ (?:on|about|as\ to|here)\b
    | \b(?:outside|beyond)\ (?:of\ )?(?:\w+\ )?(?:scope|knowledge)\b | \bnobody\ knows\b
    | ^\W*n/?a\W*$ | ^\W*no\ answer\b
    """,
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_ABROAD = re.compile(
    r"\bwei(?:ß|ss)\b[^.;!?]{0,20}\bnicht\b|\bnicht (?:angegeben|erwähnt|genannt|bekannt|enthalten|festgelegt)\b|\bkeine (?:angaben?|information\w*)\b"
    r"|\bsteht (?:das |es |dazu )?(?:nicht|nichts)\b|\bsagt (?:dazu |darüber )?nichts\b|\bgeht\b[^.;!?]{0,40}\bnicht hervor\b|\bunbekannt\b"
    r"|\bne sa(?:is|it|vons) pas\b|\bn['’]est pas (?:précisé|mentionné|indiqué|dit)|\bne (?:le )?(?:dit|précise|mentionne|indique) (?:pas|rien)\b|\baucune information\b"
    r"|\bno (?:lo )?(?:sé|sabe|sabemos)(?!\w)|\bno (?:se )?(?:lo )?(?:menciona|especifica|indica|dice|consta)\b|\bninguna información\b|\bdesconocid[oa]\b"
    r"|\bnon (?:lo )?so\b|\bnon (?:è|viene) (?:specificato|indicato|menzionato)\b|\bnão (?:sei|consta|menciona|especifica|diz)\b|\bnie (?:wiem|podano|określono)\b"
    r"|\bне (?:знаю|указан\w*|сказано|упомина\w*|говорится)\b|\bнет (?:информации|данных|сведений)\b|\bнеизвестно\b"
    r"|不知道|不清楚|未(?:提及|说明|指明|提到)|没有(?:提到|提及|说明|相关信息)|(?:わか|分か)りません|記載(?:が|は|されて)?(?:あり|い)ません|不明",
    re.IGNORECASE,
)
"""The plainest of the same in German, French, Spanish, Italian, Portuguese, Polish, Russian, Chinese and Japanese."""
_BUT = re.compile(r"[,;.:\u2014]\s*(?:but|however|though|although|still|yet|nevertheless|that said)\b,?", re.IGNORECASE)
_GUESS = re.compile(
    r"\b(?:i|we)(?:['’]d)? (?:would )?(?:think|believe|guess|assume|suspect|say|expect)\b|\bmy (?:best )?guess\b"
    r"|\b(?:probably|likely|presumably|perhaps|maybe|typically|usually|generally|normally|commonly)\b|\b(?:may|might|could|should|would) be\b|\d",
    re.IGNORECASE,
)


_SENTENCE = re.compile(r"(?<=[.!?;])\s+|[;\n\u2014]+")
_PART = re.compile(
    r",?\s+(?:but|however|though|although|yet|nevertheless|anyway)\b,?\s*"
    r"|,?\s+and\s+(?=(?:the|it|this|they|an?)\b[^,.;]{0,80}?\b(?:is|are|was|were|costs?|lasts?|takes?|must|may|has|have)\b)"
    r"|,\s+(?=(?:(?:about|approximately|around|roughly|maybe|perhaps|possibly|presumably|probably)\s){0,2}[\u00a3$\u20ac]?\d[\d.,]{0,20}\s?\S{0,20}\W{0,5}$)"
    r"|:\s+",
    re.IGNORECASE,
)
"""What parts a clause from the next; a comma alone does only before a bare value."""
_SUBORDINATE = re.compile(r"^(?:even\s+)?(?:though|although|while|as|since|because|if)\b", re.IGNORECASE)
_OF_WHAT_IS_UNKNOWN = re.compile(
    r"\b(?:unknown|unspecified|unstated|undisclosed|unclear)\s+(?!(?:whether|if|how|what|when|which|who|why|where)\b)(?:[^\W\d_]+\s+){1,4}?"
    r"(?:is|are|was|were|costs?|lasts?|takes?|amounts?\s+to)\s[^.;]*\d",
    re.IGNORECASE,
)
"""What is said of a thing that is called unknown: "the unspecified fee is $25"."""
_ABOUT = re.compile(
    rf"\b(?:{_TEXT}|i|we|you|me|us|my|our|your|ask|contact|consult|check|refer|see|please|sorry|apologies|thanks?|hello|hi|okay|ok|well|help|knows?|"
    r"decides?|depends?|information|info|data|details?|evidence|answers?|answered|questions?|knowledge|unclear|insufficient|"
    r"(?:only|merely|just|also)\ (?:says?|gives?|names?|lists?|speaks?)|"
    r"(?:mention|stat|specif|describ|discuss|cover|address|indicat|deal|focus|concern|relat|contain|provid)(?:s|es|e|ed|ies|ied|ing)?)\b",
    re.IGNORECASE,
)
"""What speaks of the text, of who asks or answers, or of where to ask, and says nothing of the world."""
_NO = re.compile(r"\b(?:no|not|never|none|nothing|nobody|neither|nor|cannot|without)\b|n['\u2019]t\b", re.IGNORECASE)
_NUMBERED = re.compile(
    r"\b(?:sections?|clauses?|appendix|annex|schedule|chapter|pages?|paragraphs?|articles?|tables?|figures?|rules?)\s+$",
    re.IGNORECASE,
)
"""Before a number: that it numbers a part of the text."""
_COUNT_NOTHING = frozenset(("one", "once", "twice", "half", "double"))
"""Numbers that stand for other things, as "one of them"."""


def refuses(answer: str, asked: str = "") -> bool:
    """Whether *answer* to *asked* says that it does not know, or that the text does not say, and leaves it at that.

    A sentence that a long answer repeats is read once. One of more than `LONGEST` characters of other sentences leaves it at
    no refusal.
    """
    if len(answer) > LONGEST:
        answer = "\n".join(dict.fromkeys(sentence.strip() for sentence in _SENTENCE.split(answer)))
        if len(answer) > LONGEST:
            return False
    return declines(answer) and not guessed(answer, asked)


def declines(text: str) -> bool:
    """Whether *text* says somewhere that it does not know, or that the text does not say."""
    return bool(_ENGLISH.search(text) or _ABROAD.search(text))


def guessed(answer: str, asked: str = "") -> str:
    """What a refusal answers all the same: "it is 24 hours" of "I am not sure, but I think it is 24 hours"; "" for nothing.

    A doubt is no refusal where an answer stands beside it: a clause with a figure that the question *asked* lacks, or one that
    says something of the world. "Ask the harbour master" is no answer.
    """
    for turn in _BUT.finditer(answer):
        rest = answer[turn.end() :].strip()
        if declines(answer[: turn.start()]) and not declines(rest) and _GUESS.search(rest):
            return rest
    return " ".join(clause for clause in _clauses(answer) if _answers(clause, asked))


def _clauses(answer: str) -> list[str]:
    """The clauses of *answer*, a refusal; one that only puts another off ("Fee: unknown") is none."""
    found = []
    for sentence in _SENTENCE.split(answer.strip()):
        refusal = _ENGLISH.search(sentence)
        comma = sentence.find(",", refusal.end()) if refusal and _SUBORDINATE.match(sentence) else -1
        for half in (sentence[:comma], sentence[comma + 1 :]) if comma >= 0 else (sentence,):
            parts = [part.strip() for part in _PART.split(half)]
            head = len(parts) > 1 and re.match(re.escape(parts[0]) + r"\s*:", half.strip()) and not quantities(parts[0])
            found += parts[1:] if head else parts
    return [clause for clause in found if clause]


def _answers(clause: str, asked: str) -> bool:
    """Whether *clause*, beside a refusal, answers what was *asked*."""
    if declines(clause):
        return bool(_OF_WHAT_IS_UNKNOWN.search(clause))
    known = quantities(asked)
    told = [each for each in quantities(clause) if not _NUMBERED.search(clause[: each.start])]
    if any(
        not any(same_quantity(each, other) for other in known)
        for each in told
        if each.unit != ORDINAL and (each.unit or each.text.lower() not in _COUNT_NOTHING)
    ):
        return True
    if re.match(r"\W*yes\b", clause, re.IGNORECASE):
        return True
    if _ABOUT.search(clause) or _NO.search(clause):
        return False
    echoed = {token.stem for token in tokens(asked)}
    return any(
        token.content and token.stem not in echoed and not token.text.lower().endswith("ly") for token in tokens(clause)
    )

"""What a comparison of two texts needs to know of English, and of no subject.

Which words carry content, which forms are one word, which words mean nearly the same, and which are opposites.
"""

from functools import lru_cache


def word_set(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(text.split())


# --- word lists -------------------------------------------------------------------------------------------------------

FUNCTION = word_set("""
    a an the this that these those it its itself they them their theirs he she him her his hers we us our you your i me my
    one ones who whom whose which what when where why how whether if then than so as of to in into on onto at by for from
    with about between among through during over under per via within upon against toward towards along across around
    is are was were be been being am do does did done doing have has had having will would shall should can could may
    might must ought need and or but nor either neither both each every any all some such same other others another own very
    too also just even still yet already again ever here there up down out off because since while although though
    despite spite whatever whichever however therefore thus hence otherwise instead rather much many more most less least
    few fewer several only not no never none nothing nobody without unless except until till before after above below beyond
    yes s t don doesn isn aren wasn won cannot etc e g i.e once twice whenever wherever besides plus like let lets
    """)
"""Words without content of their own; negations and directions among them are looked at by themselves."""

LIGHT = word_set("""
    use apply give take make get go come put set keep let hold become happen occur follow need require allow permit call
    mean count consider regard treat handle manage carry see show state say tell define describe list specify name
    time times case cases way thing things kind type number amount level value point part rule condition
    situation person people anyone anybody someone everyone everybody everything something else person's
    long often far fast soon quickly apart certain particular different general general specific possible necessary
    first then next now due order addition moment start begin stop end reach stay remain exceed extend last set include
    contain answer reply response respond question really actually exactly precisely able want various main basic overall period during away
    second minute hour day week month year metre meter kilometre centimetre millimetre litre liter millilitre gram kilogram
    milligram microgram tonne degree percent percentage knot inch foot mile
    definition meaning word phrase term stand stands column row table entry heading
    document documents handbook procedure policy manual protocol guide section text passage according
    """)
"""Words that a rewording brings along: they say little about what is being said."""

COMPUTING = word_set(
    "total totals altogether together sum combined combine overall difference differ plus minus percentage share proportion "
    "fraction compare compared comparison"
)
"""Words of a question that asks for something computed: they need not occur in the evidence."""

_IRREGULAR = {
    form: base
    for base, forms in (
        line.split(": ")
        for line in """
begin: began begun beginning
break: broke broken
bring: brought
build: built
buy: bought
catch: caught
choose: chose chosen
come: came
draw: drew drawn
drive: drove driven
fall: fell fallen
feel: felt
forbid: forbade forbidden
find: found
give: gave given
go: went gone goes
grow: grew grown
hang: hung
hold: held
keep: kept
know: knew known
unknow: unknown
lay: laid
complain: complaint complaints
fly: flight flights flew flown
choose: choice
sell: sale sales
lose: loss losses
grow: growth
succeed: success
prove: proof
advise: advice
lead: led
leave: left
lend: lent
lie: lay lain lying
lose: lost
make: made
mean: meant
meet: met
pay: paid
rise: rose risen
run: ran running
say: said
see: saw seen
sell: sold
send: sent
shut: shutting
sign: signed
sit: sat
show: showed shown showing
sleep: slept
speak: spoke spoken
spend: spent
stand: stood
stick: stuck
swear: sworn
take: took taken
teach: taught
tell: told
think: thought
use: used using uses
destroy: destruction
retain: retention
maintain: maintenance
store: storage
apply: application applied applies
reply: replied replies
owe: owed owing owes
age: aged ages ageing
throw: threw thrown
tie: tied tying
wear: wore worn
weigh: weight weighed
win: won
write: wrote written
analyse: analysis analyses analyze analyzed analysing analysed
child: children
person: people persons
man: men
woman: women
foot: feet
tooth: teeth
life: lives
half: halves
high: higher highest
low: lower lowest
long: longer longest
wide: wider
deep: deeper
strong: stronger
young: younger
old: older
large: larger largest
small: smaller smallest
warm: warmer
early: earlier earliest
late: later latest
near: nearer nearest
short: shorter
day: daily
week: weekly
month: monthly
year: yearly annual annually
hour: hourly
""".strip().splitlines()
    )
    for form in forms.split()
}

_SYNONYMS = {
    word: group.split()[0]
    for group in """
start begin commence initiate launch
stop cease end finish halt discontinue terminate conclude cessation
require need necessary requirement
allow permit permission allowed
forbid prohibit ban prohibition disallow illegal unlawful
tell inform notify notification notice report
keep retain hold retention store storage
destroy dispose disposal discard scrap throw
increase raise rise grow
reduce decrease lower fall drop cut lessen
largest maximum greatest highest biggest max ceiling most limit
smallest minimum lowest min least floor
give administer administration provide supply
use apply usage utilise application
check inspect verify examine test inspection
change alter modify alteration modification amend amendment
repeat redo
send forward transmit
get obtain receive receipt acquire
show display indicate
buy purchase
choose select selection
ask request
answer respond response reply
approve approval agree agreement consent authorise authorize authorisation
sign signature
happen occur
remain stay
contain include comprise
replace substitute replacement
fix repair mend
begin start
lapse expire expiry
last duration
fast quick quickly rapid rapidly speed
often frequency frequent frequently
place put position
remove withdraw removal withdrawal
must shall
doctor physician
record document write note log
responsible charge
person individual
owner proprietor
refuse reject decline deny refusal
broken damaged defective faulty
entire whole
big large
amount quantity
high height
long length
wide width
deep depth
strong strength
warm warmth
old age
assist help
purpose aim
attach fasten fix
cost charge fee fine price
""".strip().splitlines()
    for word in group.split()[1:]
}

_PAIRS = """
above over exceed higher greater | below lower beneath lesser
increase raise rise elevate upward grow gain lengthen extend | reduce decrease lower fall drop lessen downward lose shorten shrink
maximum highest largest greatest most longest ceiling latest | minimum lowest smallest least shortest floor
more | less fewer
before earlier prior previously preceding beforehand until within | after later afterwards following subsequently
first initial initially earliest | last final finally latest
start begin commence resume initiate | stop end cease finish halt discontinue terminate
open | close closed shut
left port | right starboard
inside indoors into internal internally | outside outdoors external externally
up upward upwards | down downward downwards
always | never
with | without
all everybody everyone | none nobody
allow permit accept approve permitted allowed lawful authorise | forbid prohibit refuse reject ban deny disallow decline
keep retain store preserve | discard destroy delete scrap dispose throw
add attach connect insert fit install | remove detach disconnect withdraw extract
into | out
mandatory compulsory obligatory required | optional voluntary discretionary
public | private confidential
enter arrive arrival embark | leave depart departure disembark
present | absent
regular | irregular
forward bow | aft stern astern
day daytime daylight | night nighttime darkness
front | back rear
temporary temporarily provisional | permanent permanently
hot warm heat heated | cold cool chilled chill
wet damp moist | dry
full fully | empty partly partial
fast quick quickly faster | slow slowly slower
older oldest | younger youngest newest newer
longer | shorter
heavier | lighter
thicker | thinner
wider | narrower
deeper | shallower
stronger | weaker
clockwise | anticlockwise counterclockwise
positive | negative
pass success succeed successful | fail failure unsuccessful
safe | unsafe dangerous
lock locked | unlock unlocked
tighten tight | loosen loose
continue | stop discontinue interrupt
include including | exclude excluding
valid | invalid void
paid | unpaid
landlord | tenant
buyer purchaser | seller vendor
import | export
credit | debit
horizontal horizontally | vertical vertically
upper top | bottom
together jointly | separately alone
male men man | female women woman
adult adults | child children
employer | employee
lender | borrower
morning | evening
upstream | downstream
inhale inspiratory inspiration | exhale expiratory expiration
best | worst
good | bad
easy | difficult
simple | complex
rich | poor
visible | hidden invisible
known | unknown
active | inactive
sufficient enough | insufficient
correct right | incorrect wrong
original | copy
gross | net
""".strip()  # fmt: skip

NEGATORS = word_set("not no never none nobody nothing neither nor cannot without n't")

_INHERENT_WORDS = word_set("""
    refuse reject deny decline forbid prohibit ban avoid fail lack absent exclude exempt withhold omit skip
    prevent contraindicated outside instead rather only sole unless except unable impossible unlawful invalid void
    restrict exclusive unsafe hardly nor neither cannot free missing
""")


# --- stems ------------------------------------------------------------------------------------------------------------

_SUFFIXES = (
    ("ensions", "end"), ("ension", "end"), ("isions", "id"), ("ision", "id"),
    ("ifications", "ifi"), ("ification", "ifi"), ("ductions", "duc"), ("duction", "duc"), ("missions", "mit"), ("mission", "mit"),
    ("ibilities", "ibl"), ("ibility", "ibl"), ("abilities", "abl"), ("ability", "abl"), ("eries", ""), ("ery", ""),
    ("ications", "ic"), ("ication", "ic"), ("ations", "at"), ("ation", "at"), ("isation", "is"), ("ization", "is"),
    ("ments", ""), ("ment", ""), ("nesses", ""), ("ness", ""), ("ities", ""), ("ity", ""), ("ances", ""), ("ance", ""),
    ("ences", ""), ("ence", ""), ("ingly", ""), ("edly", ""), ("ally", "al"), ("ively", "iv"), ("ions", ""), ("ion", ""),
    ("ives", "iv"), ("ive", "iv"), ("ing", ""), ("ied", "y"), ("ies", "y"), ("ed", ""), ("als", ""), ("al", ""),
    ("ly", ""), ("sses", "ss"), ("es", ""), ("s", ""), ("y", "i"), ("e", ""),
)  # fmt: skip


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """*word* without its ending, for comparison only: "inspected", "inspection" and "inspector" are one."""
    word = word.lower().replace("’", "'")
    word = word.removesuffix("'s").removesuffix("s'").removesuffix("'")
    word = _IRREGULAR.get(word, word)
    if len(word) <= 3 or any(c.isdigit() for c in word):
        return word
    for suffix, new in _SUFFIXES:
        shortest = 5 if suffix.startswith(("anc", "enc", "er")) else 3
        if suffix == "ly" and word.endswith("ply"):  # supply, apply, comply
            continue
        if word.endswith(suffix) and len(word) - len(suffix) + len(new) >= shortest and not word.endswith("ss"):
            base = word[: len(word) - len(suffix)] + new
            break
    else:
        base = word
    if len(base) >= 7 and base.endswith(("er", "or")):  # inspector, responder; not enter, order
        base = base[:-2]
    if len(base) > 3 and base[-1] == base[-2] and base[-1] not in "ls":
        base = base[:-1]
    if len(base) > 4 and base.endswith("at"):  # extubate, extubation
        base = base[:-2]
    if len(base) > 3 and base[-1] == "e":
        base = base[:-1]
    if len(base) > 3 and base[-1] == "y":
        base = base[:-1] + "i"
    return base[:-1] if len(base) > 5 and base[-1] == "i" else base


def _stems(those: frozenset[str]) -> frozenset[str]:
    return frozenset(map(stem, those))


BANS = _stems(
    word_set("forbid prohibit ban prohibition disallow illegal unlawful impermissible inadmissible refrain avoid")
)
"""Stems that forbid, without a negation, what stands beside them."""
PERMITS = _stems(word_set("allow permit permission acceptable lawful legal approve possible ok okay"))
"""Stems that make a ban when they are denied."""
INHERENT = BANS | _stems(_INHERENT_WORDS) | _INHERENT_WORDS
"""Stems that say no without a negation: a negated answer may rest on them."""
LIGHT_STEMS = _stems(LIGHT)
COMPUTING_STEMS = _stems(COMPUTING)
_SYNONYM_STEMS = {stem(word): stem(head) for word, head in _SYNONYMS.items()}


def _read_pairs() -> dict[str, frozenset[int]]:
    sides: dict[str, set[int]] = {}
    for number, line in enumerate(_PAIRS.splitlines(), 1):
        one, other = (side.split() for side in line.split(" | "))
        same = {stem(word) for word in one} & {stem(word) for word in other}  # employer, employee
        for side, words in ((number, one), (-number, other)):
            for word in words:
                for form in {word, word + "s", stem(word)} - same - FUNCTION | {word}:
                    sides.setdefault(form, set()).add(side)
    return {word: frozenset(numbers) for word, numbers in sides.items()}


OPPOSITES = _read_pairs()
"""A word or stem to its directions: n and -n are opposites, other numbers are unrelated."""


@lru_cache(maxsize=65536)
def concept(stem_: str) -> str:
    """The first of a stem's synonyms."""
    return _SYNONYM_STEMS.get(stem_, stem_)


OF_BANS = frozenset(map(concept, BANS | PERMITS))
"""The concepts of forbidding and permitting."""

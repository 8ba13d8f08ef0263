"""Closed word classes and common verbs of general English, as far as the rules of `text2expert.offline.clauses` need them.

A word's absence costs yield, never precision: what is not recognised is not taught. No subject's vocabulary belongs here.
"""


def word_set(text: str) -> frozenset[str]:
    """The words of *text* as a set."""
    return frozenset(text.split())


_BASE = """
abandon abort absorb accept accompany account achieve acknowledge acquire act activate adapt add adjust administer admit adopt advance advise affect
agree aim alert align allocate allow alter alternate amend analyse analyze announce answer appeal appear apply appoint approach approve arise
arrange arrive ask aspirate assemble assess assign assist assume attach attempt attend authorise authorize avoid await back bag balance bar base bear
become begin belong bind block boil book borrow break bring brush build burn buy calculate calibrate call cancel carry cause cease centrifuge certify
chair change charge chart check choose cite claim clamp clean clear climb close collapse collect combine come commence communicate compare complete comply
comprise compute conduct confirm connect consent consider consist constitute consult consume contact contain continue contribute control convene convert
cool cook cope copy correct cost count cover create cross cut deal debit decide declare deduct deepen defer define deflate degrease delay delegate delete deliver
demand demonstrate deny depart depend deposit describe designate destroy detach detect determine develop deviate dial differ dilute dip direct disable
disagree discard discharge disclose disconnect discontinue discuss disinfect dismiss display dispose dissolve distribute divide document dose double download drain draw
drill drive drop dry earn ease edit elect eliminate email emit employ empty enable enclose encounter encrypt end endorse enforce engage enrol enroll ensure enter entitle
equal equip erase escalate establish estimate evacuate evaluate examine exceed exclude execute exercise expect expire explain expose express extend extinguish extract extubate face
fail fall fasten feed file fill filter find finish fit fix flag flush fly focus fold follow forbid force forfeit form forward freeze fulfil fulfill function gain gather
generate get give go govern grant grow guarantee guide halt halve hand handle hang happen hear heat help hide hold hoist house identify ignore
immerse implement import impose improve include incorporate increase incubate incur indicate inflate inform inherit initiate inject insert insist inspect install instruct
insulate insure interrupt interview introduce invert investigate invite invoice involve isolate issue join judge justify keep label lapse last lay lead leak learn leave lend let
lie lift light limit link list listen load locate lock log look lose lower lubricate maintain make manage mark match mean measure meet melt merge mention minimise minimize mix
modify monitor mount move name need neutralise neutralize note notify number nominate obey object observe obtain occupy occur offer omit open operate order organise organize outrank override oversee own
pack park participate pass pause pay perform permit phone photograph pick pipette place plan plug point post pour precede prefer prepare prescribe present preserve press prevail prevent
print proceed process produce program prohibit prolong promote propose protect prove provide publish pull pump purchase purge pursue push put qualify quantify quarantine quote raise rank reach
react read reappear reassess rebuild recalculate receive recheck recognise recognize recommend record recover recycle reduce refer refill refit refrigerate refund refuse register reject
relate release relieve rely remain remind remove renew rent repair repeat replace reply report represent request require rescue reset resign resolve respect respond rest restart restore restrict
result resume retain retest retire retrieve return reuse reveal reverse review revise revoke rewarm ring rinse rise rotate round run sample save scale scan schedule score screen
seal search secure seek select sell send separate serve service set settle shake share shift ship show shut sign signal simplify sit skip slip soak sound specify spin
spread stack stand start state stay step sterilise sterilize stir stop store strengthen stretch submit subtract succeed suction suffer suggest supervise supply support surrender suspend
swab switch tag take talk tape target taste teach tell tend terminate test thaw tick tie tighten tilt time title touch trace track train transfer transmit transport travel treat
trigger trim turn undergo understand undertake unload unlock unplug update upgrade upload use vacate validate vary vent ventilate verify view visit void vote wait waive walk
warm warn wash watch wean wear weigh welcome win wipe withdraw withhold witness work wrap write yield preoxygenate reinstate reconnect reopen overwrite outweigh bypass forget foresee
"""

_PARTICIPLES = """
been begun bent bitten blown borne bought bound bred broken brought built burnt caught chosen come cut dealt done drawn driven dug eaten fallen fed felt flown forbidden
forgotten found frozen given gone ground grown heard held hidden hung hurt kept known laid led left lent let lit lost made meant met overridden paid put quit read
rebuilt reset rewritten rung run said seen sent set sewn shaken shown shut sold spent split spoken spread stood struck stuck sworn swept taken taught told thrown torn
undergone understood undertaken upheld withdrawn withheld won worn wound written overwritten slept had sat bid cast overseen borrowed spun shorn sought reread
"""

_NOT_PARTICIPLES = word_set(
    "need feed speed seed breed bed red shed indeed hundred embed exceed proceed succeed weed bleed unless"
)

VERBS = word_set(_BASE)
PARTICIPLES = word_set(_PARTICIPLES)


def _third(verb: str) -> str:
    if verb.endswith(("s", "x", "z", "ch", "sh")) or verb in {"go", "undergo"}:
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


THIRD = {_third(verb): verb for verb in VERBS}
"""Third person singular -> base: "carries" -> "carry"."""


ONLY_VERBS = word_set(
    "takes begins becomes requires applies occurs depends includes contains gives goes comes consists ensures allows happens belongs "
    "remains ends starts stays lasts follows"
)
"""Third persons that no plural noun looks like: "Release takes place" orders nothing."""


def third(verb: str) -> str:
    """The third person singular of a base form: "carry" -> "carries"."""
    return {"have": "has", "do": "does", "be": "is"}.get(verb) or _third(verb)


MODALS = word_set("must shall should may can will cannot might could would")
BE = word_set("is are was were")
AUXILIARIES = MODALS | BE

PREPOSITIONS = word_set(
    "about above across after against along among around at before behind below beneath beside between beyond by during for from in inside "
    "into near of off on onto out outside over per since through throughout to toward towards under until up upon via with within without despite"
)
SUBORDINATORS = word_set(
    "if when whenever unless until because although though while whilst whereas once provided except whichever whatever lest"
)
RELATIVES = word_set("that which who whose whom")
DETERMINERS = word_set(
    "a an the each every any no some all both its their his her this these those such another either neither more most less least many few several "
    "only enough half one two three four five six seven eight nine ten eleven twelve"
)
PRONOUNS = word_set("it its itself they them their theirs themselves he him his she her hers we us our i me my")
POINTERS = word_set("this these those such that former latter above below")
ADVERBS = word_set(
    "also always never not only then therefore thus however normally usually automatically immediately again still already directly first "
    "instead otherwise together separately normally even just at once promptly generally typically personally jointly further free"
)
NUMBER_WORDS = tuple(
    sorted(
        word_set(
            "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty"
        )
    )
)

_ROLES = """
accountant actor administrator adviser advisor agency agent analyst applicant arbitrator architect assessor assistant attendant auditor author authority bank bidder board body borrower broker buyer
captain carer caretaker carrier cashier chair chairman chairperson chairwoman chef chemist chief child claimant cleaner clerk client coach colleague commander commission commissioner committee company
consultant contractor controller coordinator co-ordinator council counsel court courier crew curator custodian customer dealer dentist department deputy designer developer director dispatcher doctor donor driver editor electrician
employee employer engineer everyone everybody examiner executive executor expert family farmer firefighter firm foreman gardener governor guard guardian guest guide handler head holder host hospital household inspector institute institution
instructor insurer inspectorate investigator janitor judge landlord lawyer leader lecturer lender lessee lessor librarian licensee licensor manager management master mate mechanic mediator member midwife minister ministry nobody nominee notary nurse
occupant occupier office officer official operator organiser organizer owner panel pair parent participant partner party passenger patient patrol person personnel pharmacist physician pilot planner planner player police porter practitioner president principal
processor producer professor programmer provider public publisher pupil purchaser receiver receptionist recipient referee registrar regulator reporter representative researcher resident responder retailer reviewer runner safeguarder
salesperson school scientist secretary secretariat seller sender sergeant shareholder signatory skipper society specialist sponsor staff steward student subcontractor supervisor supplier surgeon surveyor teacher team technician technologist tenant
therapist trader trainee trainer translator treasurer tribunal trustee tutor underwriter undertaker university user vendor veterinarian visitor volunteer voter warden watchkeeper welder witness worker borrower hirer skipper anyone somebody someone
"""
ROLES = word_set(_ROLES)
"""Words for people and bodies that can be asked for with "who"."""

BODIES = word_set(
    "agency authority bank board body commission committee company council court department firm hospital household institute institution inspectorate "
    "ministry office panel party public school secretariat society tribunal university"
)
"""Roles that are not persons: things are done by them rather than to them."""

QUANTITIES = {
    "temperature": "°C °F K degrees-celsius",
    "percentage": "% percent",
    "weight": "kg g mg µg μg t tonnes tons kilograms grams milligrams lb lbs micrograms ng",
    "volume": "mL ml L l litres liters millilitres m3 m³ µL μL gallons",
    "pressure": "bar mbar kPa Pa hPa MPa psi mmHg cmH2O",
    "rate": "L/min mL/min mL/h L/h m3/h rpm mL/kg mg/kg mg/h g/L mg/L mmol/L breaths/min beats/min mL/s",
    "distance": "m cm mm km µm metres meters centimetres millimetres kilometres centimeters millimeters kilometers feet miles inches",
    "angle": "° degrees",
    "voltage": "V kV mV volts",
    "current": "A mA amps amperes",
    "power": "W kW MW watts kilowatts",
    "frequency": "Hz kHz MHz GHz",
    "concentration": "ppm ppb mol/L mM µM %v/v",
    "amount": "€ £ $ EUR USD GBP euros dollars pounds cents kronor crowns francs",
    "level": "lux dB lx",
    "speed": "km/h m/s mph knots kn",
}
QUANTITY_OF = {unit: name for name, units in QUANTITIES.items() for unit in units.split()}
"""Unit -> what it measures."""


FIRM = word_set("need require get include contain cost hold own")
"""Verbs taken for verbs whatever follows: as nouns they are rare behind a noun."""


def verb_of(word: str) -> str:
    """The base form that *word* (lower case) is, "pre-cool" and the like included; "" where it is no known verb."""
    if word in VERBS:
        return word
    again = word.removeprefix("re")
    if again != word and len(again) > 3 and again in VERBS:
        return word
    prefix, _, stem = word.partition("-")
    return word if prefix in {"pre", "re", "de", "over", "un", "cross", "double"} and stem in VERBS else ""


def is_participle(word: str) -> bool:
    """Whether *word* (lower case) looks like a past participle."""
    return word in PARTICIPLES or (word.endswith("ed") and len(word) > 3 and word not in _NOT_PARTICIPLES)

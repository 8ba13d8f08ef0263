"""English words that questions are turned with: things by class, properties, topics; and how many forms a word has.

Every entry is only used where none of its words, in any form, occurs in the texts. Words behind a bar are synonyms and
relatives that must be absent too. Nothing here belongs to a subject's vocabulary: these are things of everyday life that
a reference text of some other subject is unlikely to hold.
"""

import functools
import re
from collections.abc import Mapping
from typing import Literal

import attrs

Class = Literal["person", "device", "document", "place", "material"]


@attrs.frozen
class Entry:
    """A word or phrase to ask about, and what else must be absent where it is to be unknown."""

    phrase: str
    cues: tuple[str, ...] = ()


def word_set(text: str) -> frozenset[str]:
    """The words of *text* as a set."""
    return frozenset(text.split())


def entries(text: str) -> tuple[Entry, ...]:
    """The entries of a list: separated by commas or lines, cues behind a bar."""
    found = []
    for part in re.split(r"[,\n]", text):
        phrase, _, cues = part.partition("|")
        if phrase.strip():
            found.append(Entry(" ".join(phrase.split()), tuple(cues.split())))
    return tuple(found)


THINGS: Mapping[Class, tuple[Entry, ...]] = {
    "person": entries("""
        night porter, gardener | horticulture, receptionist, translator | interpreter, caterer | cook chef, plumber, carpenter | joiner,
        chaplain | priest, photographer, chauffeur | driver, hairdresser | barber, florist, locksmith, painter, roofer, bricklayer,
        welder, tailor, baker, butcher, journalist, auctioneer, beekeeper, forester, park ranger, lifeguard, umpire | referee,
        choirmaster, organist, dietitian | dietician nutritionist, optician, podiatrist, veterinarian | vet, meteorologist, statistician,
        economist, ombudsman, bailiff, magistrate | judge, ambassador, glazier, sculptor, illustrator, yoga teacher, tour guide,
        taxi driver, window cleaner, lift attendant, stonemason, upholsterer, bartender, concierge, librarian, archaeologist"""),
    "device": entries("""
        turnstile, forklift | fork truck, photocopier | copier, dishwasher, vending machine, escalator, lawnmower | mower, stepladder | ladder,
        loudspeaker | speaker, radiator, greenhouse, solar panel | photovoltaic, snowplough | snowplow, flagpole, letterbox | mailbox,
        bicycle | bike, tractor, dehumidifier, toaster, kettle, bulldozer, chandelier, wheelbarrow, chainsaw, sewing machine,
        printing press | printer, treadmill, tumble dryer, ice machine, coffee machine, garage door, revolving door, lightning rod, doorbell,
        hand dryer, leaf blower, pressure washer, skylight, cement mixer, hedge trimmer, projector, roller blind, sprinkler, paper shredder | shred,
        parking meter, cash register, laminator, bread slicer, pallet jack, sandblaster, tile cutter, weather vane, golf cart"""),
    "document": entries("""
        library card, parking ticket | park, gift voucher, wedding invitation, dinner menu, boarding pass, newsletter, brochure | leaflet,
        crossword puzzle, wall calendar, cookery recipe | cookbook, birthday card, seating plan, sheet music, petition, ballot paper | vote,
        press cutting, travel itinerary, bus timetable, season ticket, mortgage deed, patent application, scrapbook, telegram, atlas,
        questionnaire | survey, payslip | payroll, dividend warrant, theatre programme, raffle ticket, tourist map, postcard,
        museum catalogue, fishing licence | license, building permit, tax return, train ticket, film script, school report, song book"""),
    "place": entries("""
        car park | parking, canteen | cafeteria, gymnasium | gym, chapel, nursery, swimming pool, cinema, roof garden, bicycle shed, squash court,
        sauna, theatre | theater, playground, orchard, wine cellar, ballroom, museum, aviary, stable, helipad, tennis court, bakery, bowling alley,
        coffee shop, beer garden, concert hall, skating rink"""),
    "material": entries("""
        paint thinner, candle wax, chalk, glitter, olive oil, vinegar, honey, compost, gravel, sawdust, charcoal, varnish, cement, antifreeze,
        fertiliser | fertilizer, weedkiller | herbicide, turpentine, perfume, maple syrup, road salt, cooking fat, modelling clay, wallpaper paste"""),
}
"""Things by class, in the singular. None is a kind of what another text may call staff, equipment or records at large
without that being checked: see `text2expert.refusals.texts.GENERIC`."""


PEOPLE = word_set("""
    accountant administrator adviser advisor agent analyst applicant architect assessor assistant attendant auditor author beneficiary borrower broker buyer captain carer caretaker
    cashier chairman chairperson chairwoman chemist claimant cleaner clerk client clinician coach commander commissioner consultant contractor controller coordinator courier
    custodian customer dealer dentist deputy designer developer director dispatcher doctor donor driver editor electrician employee employer engineer examiner executive executor farmer
    firefighter foreman governor guard guardian guest handler holder inspector instructor insurer intern investigator janitor judge landlord lawyer leader lecturer lender librarian
    licensee manager master mate mechanic mediator member midwife minister nominee notary nurse occupant occupier officer official operator organiser organizer owner parent participant
    partner passenger patient pharmacist physician pilot planner practitioner president principal producer professor programmer provider publisher pupil purchaser receiver
    recipient referee registrar reporter representative researcher resident responder reviewer secretary seller sender sergeant shareholder skipper
    specialist sponsor steward student subcontractor superintendent supervisor supplier surgeon surveyor teacher technician technologist tenant trainee trainer treasurer
    therapist trustee tutor underwriter user vendor visitor volunteer warden watchkeeper welder witness worker""")  # fmt: skip
"""Heads of what names a person by an office, in the singular."""


VERBS: Mapping[Class, frozenset[str]] = {
    "device": word_set(
        "inspect test service calibrate clean replace maintain lubricate overhaul disinfect weigh flush recharge charge dismantle drain grease "
        "repair check"
    ),
    "document": word_set(
        "sign countersign renew file issue archive submit amend copy print shred revise withdraw approve retain keep destroy update send"
    ),
    "person": word_set("notify inform train retrain appoint elect certify qualify brief dismiss call tell"),
    "place": word_set("ventilate lock unlock heat evacuate sweep close open visit"),
    "material": word_set("dilute filter dispense neutralise neutralize sample stir pour apply"),
}
"""What is done, most of all, to things of a class; each verb in one class only."""


def _properties(text: str) -> tuple[tuple[str, Entry], ...]:
    """Lines of a question, its name and its cues."""
    lines = (line.split("|") for line in text.strip().splitlines())
    return tuple((asked.strip(), Entry(name.strip(), tuple(cues.split()))) for asked, name, cues in lines)


PROPERTIES: Mapping[Class | Literal["institution"], tuple[tuple[str, Entry], ...]] = {
    "person": _properties("""
            What is the annual salary of {it}?|salary|salary wage remuneration pay paid earn payroll stipend
            How many days of annual leave {does} {it} get?|annual leave|leave holiday vacation
            At what age {does} {it} have to retire?|retirement age|retire retirement pension
            Which foreign languages must {it} speak?|foreign languages|language speak fluent
            What colour is the uniform of {it}?|uniform|uniform colour color dress wear worn clothing tabard vest jacket badge gown apron coat armband
            Which university degree must {it} hold?|university degree|university diploma graduate bachelor master's
            Where {does} {it} park?|parking space|park parking car"""),
    "device": _properties("""
            Which company manufactures {it}?|manufacturer|manufacturer manufacture maker brand factory
            What is the serial number of {it}?|serial number|serial
            How much {does} {it} cost to buy?|purchase price|cost price paid purchase buy expense
            In which country {is} {it} made?|country of origin|country countries import abroad made
            How long is the warranty of {it}?|warranty|warranty guarantee
            What colour {is} {it}?|colour|colour color paint red green blue yellow white black grey orange
            How much electricity {does} {it} use in a year?|electricity consumption|electricity electric electrical power watt energy kilowatt kwh
            In which year {was} {it} invented?|year of invention|invent invention
            How loud {is} {it} in decibels?|noise level|noise loud decibel sound"""),
    "document": _properties("""
            In which font {is} {it} printed?|font|font typeface lettering
            Into which languages {is} {it} translated?|translation|translate translation language
            Which printing house prints {it}?|printing house|printing printer
            How many pages {does} {it} have?|number of pages|page pages sheet
            What colour is the cover of {it}?|cover colour|colour color cover red green blue yellow white
            Who drew the illustrations in {it}?|illustrations|illustrate illustration picture drawing draw drawn
            How much does a printed copy of {it} cost?|price of a copy|price cost fee charge"""),
    "place": _properties("""
            What is the floor area of {it}?|floor area|area square floor
            Which architect designed {it}?|architect|architect design
            How many windows {does} {it} have?|windows|window
            What is the annual rent of {it}?|rent|rent lease tenant
            In which year {was} {it} built?|year of construction|built build construction"""),
    "material": _properties("""
            Which company sells {it}?|seller|sell sold vendor supplier shop retail
            What {does} {it} smell of?|smell|smell odour odor scent
            How much does a kilogram of {it} cost?|price by weight|price cost kilogram
            In which language is the label of {it} written?|label|label language"""),
    "institution": _properties("""
        In which year was {it} founded?|year of foundation|found founded foundation establish established
        How many people does {it} employ?|number of employees|employ employee headcount workforce
        What does the logo of {it} show?|logo|logo emblem
        What is the annual turnover of {it}?|annual turnover|turnover revenue sales income
        In which street is the head office of {it}?|head office|street headquarters address
        Who is the press officer of {it}?|press officer|press media spokesman spokeswoman journalist"""),
}
"""Questions after what a text seldom says, with what is missing and what must be absent."""


ACTIONS: Mapping[Class, tuple[Entry, ...]] = {
    "device": entries("""
        repainted | paint coat, polished | polish shine, leased out | lease rent hire, photographed | photo picture camera image, upgraded | upgrade update modern,
        insured | insurance insurer premium, refurbished | refurbish renovate, redesigned | design"""),
    "document": entries("""
        translated | translation language, laminated | laminate plastic, framed | frame, reprinted | print reprint, read aloud | aloud voice, microfilmed | film scan,
        notarised | notary notarize, illustrated | illustration picture, bound in leather | leather bind binding"""),
    "person": entries("""
        vaccinated | vaccine immunise immunisation, fingerprinted | fingerprint biometric, photographed | photo picture image, awarded a medal | award medal prize,
        sent abroad | abroad foreign, given a company car | car, granted a sabbatical | leave holiday, invited to lunch | lunch invite meal"""),
    "place": entries("""
        repainted | paint coat, redecorated | decorate decoration, rented out | rent lease hire, opened to tourists | tourist, filmed | video film camera,
        redesigned | design architect"""),
    "material": entries("""
        recycled | recycle reuse, perfumed | scent smell odour, coloured | colour color dye, exported | export abroad, advertised | advert publicity"""),
}
"""What might be done to things of a class and is seldom said."""


COLUMNS = entries("""
    Manufacturer | maker brand, Serial number, Country of origin, Warranty | guarantee, Purchase price | price cost, Colour code | color, Supplier | vendor, Batch number,
    Net weight | weigh kg, Catalogue number | catalog, Barcode, Customs code, Insurance value | insured, Footnote, Translation | language, Budget, Survey result,
    Cost centre | center, Tax rate | tax, Photograph | picture, Abbreviation, Bibliography, Legal basis | law, Standard deviation, Median, Percentile, Forecast,
    Historical average | mean, Approval stamp, Comment | remark note, Author, Revision history, Statistical error, Confidence interval, Tolerance | deviation, Unit price | price cost,
    Sponsor, Reference standard, Substitute | alternative replace instead, Certification body | certif, Delivery time | deliver, Drawing number | draw, Postcode | address""")
"""Columns that a table might have, in the form of a heading."""


VALUES = entries("""
    purchase price | price cost, country of origin | country, resale value | resale sell, insured value | insurance, serial number, carbon footprint, warranty period | guarantee,
    delivery cost | deliver""")
"""What might be asked of a thing: "What is the resale value of ...?"."""


TERMS = entries("""
    Grace period, Shadow account, Quiet hours, Peak season, Cooling-off period, Sunset date, Blue list, Carry-over, Roaming stock, Twin signature,
    Gatekeeper fee, Anchor tenant, Golden sample, Ghost entry, Mirror image, Night tariff, Ballast sum, Harvest year, Satellite office, Umbrella contract,
    Silent partner, Lantern test, Founder share, Windfall gain, Village rate, Mezzanine, Escrow, Tranche, Honorarium, Surcharge | charge, Backlog, Heirloom,
    Bootstrap, Watershed, Syndicate, Lookout, Fallow time, Parallel import, Bridging loan, Leap second, Trial balloon, Orphan work""")
"""Terms that a text might define."""


TOPICS = entries("""
    smoking breaks | smoke tobacco, company cars | vehicle car, pets at work | animal dog cat, social media | internet, travel expenses | travel expense, dress codes | clothing uniform clothes,
    birthday presents | gift birthday, flexible working hours | flexitime remote, parental leave | maternity paternity, pension contributions | retire pension, trade unions | union strike,
    car parking | park car, waste recycling | recycle, carbon offsets | climate emission, cryptocurrencies | bitcoin, artificial intelligence | ai algorithm, drone flights | unmanned aircraft,
    background music | song radio, vending machines | snack, charity donations | charity donate, school visits | school pupil, film crews | movie filming, solar power | photovoltaic sun,
    bicycle storage | bike cycle, lost property | lost found, guide dogs | blind dog, tourist guides | tourist tourism, language courses | language, art exhibitions | art gallery,
    business lunches | lunch restaurant meal, airline tickets | flight airport, kitchen appliances | kitchen cook, overtime pay | overtime salary wage, childcare | nursery kindergarten child,
    expense claims | expense reimburse, sponsorship | sponsor, whistleblowing | whistleblower, trademarks | brand patent, electric vehicles | electric car, job sharing | part-time, internships | intern,
    press interviews | press journalist media, customer surveys | survey questionnaire, loyalty schemes | loyalty reward, price discounts | price discount rebate, exchange rates | currency exchange,
    share options | share stock, political lobbying | lobby politic, sabbaticals | sabbatical, lottery tickets | gamble gambling, robots | automation, podcasts | audio, virtual reality | headset,
    office furniture | desk chair, noise complaints | noise, energy saving | energy, water consumption | consumption, rodent control | pest rat mouse, snow clearance | snow ice, gardening | garden lawn,
    houseplants | plant flower, retirement parties | party celebration retire, apprenticeships | apprentice, franchise agreements | franchise, tax rebates | tax, holiday homes | holiday vacation""")
"""Topics that stand beside most subjects and in few texts."""

TOPIC_QUESTIONS = (
    "what is the rule on {topic}?",
    "which rules apply to {topic}?",
    "what is laid down about {topic}?",
    "what is said about {topic}?",
    "who is responsible for {topic}?",
    "what arrangements are made for {topic}?",
)

DEPARTMENTS = entries("""
    Catering, Tourism, Heritage, Sports, Fashion, Wildlife, Music, Aviation, Forestry, Fisheries, Costume, Hospitality, Nightlife, Lottery, Wine, Railway, Broadcasting, Horticulture, Space, Museum""")
"""What an office might be for; "Heritage Officer"."""

SYLLABLES = (
    "Bren Cald Dorn Esk Fenn Gart Hald Ivel Jorr Kest Lorn Marl Nev Orm Pell Quar Rusk Selm Torv Ulv Vand Wend Yarl Zeld",
    "bury combe dale fell garth holm lund mere ness rick stead thorp vik wick",
)
"""What invented names are put together from."""


HEADS: Mapping[Class, frozenset[str]] = {
    "device": word_set("pump valve hose hook bollard ventilator cylinder monitor alarm camera lamp engine crane motor filter sensor battery cable door gate fender winch tank meter "
        "gauge scale freezer oven extinguisher generator compressor boiler fan centrifuge pipette incubator hammer drill saw ladder helmet lifejacket lifebuoy scanner server router laptop telephone radio "
        "printer machine trolley wheelchair hoist conveyor robot turbine transformer switch fuse detector thermometer"),
    "document": word_set("certificate permit form report list register log policy agreement contract statement plan checklist manual invoice licence license notice declaration application "
        "mandate schedule extract logbook diary receipt voucher passport letter memorandum minute protocol worksheet ledger"),
    "place": word_set("room hall office ward building store archive warehouse laboratory yard shelter corridor kitchen garage workshop theatre bay vault basement roof entrance cabin hangar depot"),
    "material": word_set("oil fuel gas acid solution reagent paint solvent detergent specimen grease coolant resin powder"),
}  # fmt: skip
"""Nouns of each class, in the singular, by which a subject is recognised; of persons see `PEOPLE`."""


CARED_FOR = word_set(
    "patient resident passenger client customer pupil student guest tenant donor member applicant claimant participant visitor user occupant"
)
"""Persons to whom is done what is done to no other."""


OFFICES = word_set(
    "officer manager director coordinator inspector secretary adviser advisor supervisor consultant controller superintendent administrator representative planner engineer auditor"
)
"""Persons of whom every department may have one."""

INSTITUTIONS = word_set(
    "archive bank hospital clinic institute institution university college school museum library laboratory council committee board ministry agency authority commission court tribunal society "
    "association union foundation trust registry hotel mutual observatory company corporation cooperative"
)
"""Heads of names of institutions, small."""

SITES = word_set(
    "harbour port airport station terminal depot bridge street road avenue island lake river tower beacon square gate hall house park valley bay quay pier"
)
"""Heads of names of places, small."""


def acts() -> dict[str, Class]:
    """The forms of the verbs in `VERBS` (base and past participle) with the class of what they are done to."""
    return {form: things for things, verbs in VERBS.items() for verb in verbs for form in (verb, _participle(verb))}


def _participle(verb: str) -> str:
    if verb in _IRREGULAR:
        return _IRREGULAR[verb]
    if verb.endswith("e"):
        return verb + "d"
    if re.search(r"[^aeiou]y$", verb):
        return verb[:-1] + "ied"
    if verb in {"submit", "stir"}:
        return verb + verb[-1] + "ed"
    return verb + "ed"


_IRREGULAR = {"keep": "kept", "send": "sent", "tell": "told", "sweep": "swept"}


def plural(noun: str) -> str:
    """The plural of a regular noun or phrase."""
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    if re.search(r"(?:s|x|z|ch|sh)$", noun):
        return noun + "es"
    if noun.endswith("man"):
        return noun[:-3] + "men"
    return noun + "s"


def article(noun: str) -> str:
    """*noun* with its indefinite article."""
    return f"an {noun}" if re.match(r"[aeio]|u(?!ni)", noun.casefold()) else f"a {noun}"


@functools.cache
def stems(phrase: str) -> tuple[str, ...]:
    """The stems of the content words of *phrase*: what every form of a word begins with."""
    return tuple(stem(word) for word in re.findall(r"[^\W_]+", phrase.casefold()) if word not in _FUNCTION)


def stem(word: str) -> str:
    """What all forms of *word* (lower case) begin with, rather too short than too long."""
    for ending in ("ies", "ing", "ers", "ors", "ed", "er", "or", "es", "y", "e", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 4 and word[-1] == word[-2] else word  # "planned" and "plan"


_FUNCTION = word_set("a an the of to in on at out for with and or by from")

"""Units as a text spells them: one name for all spellings, a dimension, a size, and the symbol that people read."""

import re
from functools import lru_cache
from typing import NamedTuple

from text2expert.evidence.wording import word_set


class Unit(NamedTuple):
    """A unit in its one spelling, with its dimension and size; a dimension of its own when nothing converts to it."""

    name: str
    dimension: str
    size: float

    @property
    def symbol(self) -> str:
        """As it is written for people: "cmH2O", "mL/kg", "working day"."""
        return "/".join(_SYMBOLS.get(part, part).replace("_", " ") for part in self.name.split("/"))


# dimension: name size = other spellings. Sizes are exact ratios; a dimension with one unit converts to nothing.
_TABLE = """
time: s 1 = sec secs second seconds | min 60 = mins minute minutes | h 3600 = hr hrs hour hours | ms .001 = msec millisecond milliseconds
time: day 86400 = days d calendar_day calendar_days | week 604800 = weeks wk wks | fortnight 1209600 = fortnights
calendar: month 1 = months | year 12 = years yr yrs | quarter 3 = quarters | decade 120 = decades
workday: working_day 1 = working_days business_day business_days weekday weekdays
mass: µg 1e-6 = μg ug mcg microgram micrograms | mg .001 = milligram milligrams | g 1 = gram grams gm | kg 1000 = kilogram kilograms kilo kilos
mass: t 1e6 = tonne tonnes | ng 1e-9 = nanogram nanograms
ton: ton 1 = tons | ounce: ounce 1 = oz ounces | stone: stone 1 = stones
length: mm .001 = millimetre millimetres millimeter millimeters | cm .01 = centimetre centimetres centimeter centimeters
length: m 1 = metre metres meter meters | km 1000 = kilometre kilometres kilometer kilometers | µm 1e-6 = micrometre micrometres micron microns
length: nm 1e-9 = nanometre nanometres
foot: foot 1 = feet ft | inch: inch 1 = inches | yard: yard 1 = yards | mile: mile 1 = miles | seamile: nautical_mile 1 = nautical_miles nmi
volume: ml 1 = millilitre millilitres milliliter milliliters cc | l 1000 = litre litres liter liters ltr | m3 1e6 = cubic_metre cubic_metres cubic_meter cubic_meters
volume: µl .001 = μl microlitre microlitres | dl 100 = decilitre decilitres | cl 10 = centilitre centilitres
gallon: gallon 1 = gallons | pint: pint 1 = pints | barrel: barrel 1 = barrels
area: m2 1 = square_metre square_metres square_meter square_meters sqm | cm2 .0001 | km2 1e6 | hectare 10000 = hectares ha
foot2: sqft 1 = square_foot square_feet | acre: acre 1 = acres
cmh2o: cmh2o 1 = cm_h2o | mmhg: mmhg 1 = mm_hg | pascal: pa 1 = pascal pascals | hpa 100 | kpa 1000 = kilopascal kilopascals | mpa 1e6 = megapascal megapascals | mpa_ .001 = millipascal millipascals | bar 1e5 = bars | mbar 100
psi: psi 1 | atm: atm 1 = atmospheres
celsius: °c 1 = celsius degree_celsius degrees_celsius degrees_c | fahrenheit: °f 1 = fahrenheit degrees_fahrenheit degrees_f | kelvin: k 1 = kelvin
angle: degree 1 = degrees ° deg | percent: % 1 = percent per_cent pct | points: percentage_point 1 = percentage_points
dpi: dpi 1 = dots/inch dot/inch | ppm: ppm 1e-6 | ppb 1e-9 | mol: mmol .001 = millimole millimoles | mol 1 = mole moles | µmol 1e-6 = μmol umol micromole micromoles | nmol 1e-9
molar: molar 1 | mm_molar .001 = millimolar
units: u 1 = iu unit units | meq: meq 1 | kcal: kcal 1 = calories kilocalories | joule: j 1 = joule joules | kj 1000 = kilojoule kilojoules
length/time: km/h 0.2777777777777778 = kph kmh | m/s 1
speed: knot 1 = knots kn kt kts | mph: mph 1 | power: w 1 = watt watts | kw 1000 = kilowatt kilowatts | mw 1e6 = megawatt megawatts | mw_ .001 = milliwatt milliwatts
horse: hp 1 = horsepower | kwh: kwh 1 | volt: v 1 = volt volts | kv 1000 = kilovolt kilovolts | mv .001 = millivolt millivolts
ampere: a_ 1 = amp amps ampere amperes | ma .001 = milliamp milliamps | ohm: ohm 1 = ohms Ω ω | kilohm 1000 = kilohms kω | megohm 1e6 = megohms mω
newton: newton 1 = newtons | kn_ 1000 = kilonewton kilonewtons | torque: nm_ 1 = newton_metre newton_metres newton_meter newton_meters | hz: hz 1 = hertz | khz 1000 | mhz 1e6 = megahertz | mhz_ .001 = millihertz | ghz 1e9 | rpm: rpm 1 | db: db 1 = dba decibel decibels
data: byte 1 = bytes | kb 1e3 | mb 1e6 = megabyte megabytes | gb 1e9 = gigabyte gigabytes | tb 1e12 | gforce: xg 1 = ×g
gbp: gbp 1 = £ | pence .01 = penny | usd: usd 1 = $ dollar dollars | cent: cent 1 = cents | eur: eur 1 = € euro euros | pound: pound 1 = pounds lb lbs
crown: crown 1 = crowns krone kroner kronor | mark: mark 1 = marks | franc: franc 1 = francs chf | rupee: rupee 1 = rupees | yen: yen 1 = ¥ jpy
january: january 1 = jan | february: february 1 = feb | march: march 1 = mar | april: april 1 = apr | may_month: may_month 1 | june: june 1 = jun
july: july 1 = jul | august: august 1 = aug | september: september 1 = sep sept | october: october 1 = oct | november: november 1 = nov
december: december 1 = dec
"""


_BY_CAPITALS = {
    "kN": "kn_", "mW": "mw_", "mPa": "mpa_", "mHz": "mhz_", "mM": "mm_molar", "NM": "nautical_mile", "Nm": "nm_",
}  # fmt: skip
"""Spellings that nothing but their capitals tells from another unit: kilonewtons from knots, nautical miles from nanometres."""
_CAPITALS = re.compile(rf"(?<![^\W\d_])(?:{'|'.join(_BY_CAPITALS)})(?![^\W\d_])")
_SYMBOLS = {
    "ml": "mL", "l": "L", "dl": "dL", "cl": "cL", "µl": "µL", "m3": "m³", "m2": "m²", "cm2": "cm²", "km2": "km²", "sqft": "sq ft",
    "cmh2o": "cmH2O", "mmhg": "mmHg", "pa": "Pa", "hpa": "hPa", "kpa": "kPa", "mpa": "MPa", "mpa_": "mPa",
    "°c": "°C", "°f": "°F", "k": "K", "molar": "M", "mm_molar": "mM", "u": "U", "meq": "mEq", "j": "J", "kj": "kJ",
    "w": "W", "kw": "kW", "mw": "MW", "mw_": "mW", "kwh": "kWh", "v": "V", "kv": "kV", "mv": "mV", "a_": "A", "ma": "mA",
    "kilohm": "kΩ", "megohm": "MΩ", "ohm": "Ω", "kn_": "kN", "newton": "N", "nm_": "Nm", "hz": "Hz", "khz": "kHz", "mhz": "MHz",
    "mhz_": "mHz", "ghz": "GHz", "db": "dB", "kb": "kB", "mb": "MB", "gb": "GB", "tb": "TB", "xg": "×g",
    "gbp": "£", "usd": "$", "eur": "€", "count": "",
}  # fmt: skip
"""What people write for names that are only ours."""


def _read_table() -> dict[str, Unit]:
    units: dict[str, Unit] = {}
    for line in _TABLE.strip().splitlines():
        dimension = ""
        for entry in line.split(" | "):
            head, _, spellings = entry.partition(" = ")
            if ":" in head:
                dimension, head = head.split(": ")
            name, size = head.split()
            unit = Unit(name, dimension, float(size))
            for spelling in (name, *spellings.split()):
                units[spelling] = unit
    return units


UNITS = _read_table()
DIMENSIONS = frozenset(unit.dimension for unit in UNITS.values()) | frozenset(("length", "time"))
"""What units measure, with "/" where they measure one per another."""
MONTHS = (
    "january", "february", "march", "april", "may_month", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
"""The names of the months as units of a day: the 1 of "1 April"."""
_SYMBOLS |= {month: month.removesuffix("_month").capitalize() for month in MONTHS}
SPANS = word_set("time calendar workday")
"""The dimensions of spans of time."""
COUNTED = SPANS | word_set("count gbp usd eur cent pound crown mark franc rupee yen")
"""What is told with or without "a year" behind it."""
CLOCK = Unit("clock", "clock", 1.0)
ORDINAL = Unit("ordinal", "ordinal", 1.0)


@lru_cache(maxsize=4096)
def unit_of(text: str) -> Unit | None:
    """The unit that *text* spells ("mL", "litres per minute", "micrograms/kg/min"), None for any other text."""
    spelling = re.sub(
        r"\s*(?:/|\bper\b(?! cent)|\ban?(?=\s(?:day|week|month|quarter|year|minute|hour)\b))\s*",
        "/",
        _CAPITALS.sub(lambda found: _BY_CAPITALS[found[0]], text.strip()).lower(),
    )
    spelling = spelling.replace("⁻¹", "").replace("^", "")
    spelling = spelling.replace("²", "2").replace("³", "3").replace("° ", "°")
    spelling = re.sub(r"[ \u00a0\u202f]+", "_", spelling)
    if spelling in UNITS:
        return UNITS[spelling]
    if "/" not in spelling:
        return None
    parts = spelling.split("/")
    parts[0] = parts[0] or "count"
    below = [UNITS.get(part) for part in parts[1:]]
    if not all(below):
        return None
    # Anything can be counted per unit: breaths/min, forms per week.
    top = UNITS.get(parts[0]) or Unit(
        parts[0].rstrip("s"), "count" if parts[0] in _TIMES else parts[0].rstrip("s"), 1.0
    )
    size, names, dimensions = top.size, [top.name], [top.dimension]
    for part in below:
        assert part is not None
        size /= part.size
        names.append(part.name)
        dimensions.append(part.dimension)
    return Unit("/".join(names), "/".join(dimensions), size)


def counted_word(unit: Unit) -> str:
    """What a unit counts per another: the breath of breaths/min; empty for any other unit."""
    name, _, below = unit.name.partition("/")
    return name if below and name not in UNITS and name != "count" else ""


def per(coin: Unit, counted: Unit) -> Unit:
    """A currency per what is counted per: £ and "a year" make £ a year."""
    return Unit(
        coin.name + counted.name.removeprefix("count"), coin.dimension + counted.dimension.removeprefix("count"),
        coin.size * counted.size,
    )  # fmt: skip


_TIMES = word_set("time times dose doses")

"""Which machine to rent: what a job would cost and take on each offer, by the time it is expected to be finished."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from text2expert.records import Needs

SETUP_SECONDS: Final = 240.0
"""From renting to the first stage: start of the container, SSH, packages. An estimate, not measured."""

IMAGE_GB: Final = 9.0
"""Of a container image with torch and CUDA, compressed."""

IMAGE_DISK_GB: Final = 25.0
"""Of it on the disk. A guess, on the safe side."""

BASE_GB: Final = 16.0
"""Of a base whose size is not known: 7 to 8 billion parameters in bf16."""

CARRIED_GB: Final = 4.0
"""Set aside for what is sent and fetched: dataset, exam, last checkpoint, adapter. An estimate; what is carried is counted."""

CHECKPOINTS: Final = 0.1
"""Of the rent, which checkpoints on the way may cost in traffic."""

HOME_MBIT: Final = 50.0
"""Of the line over which a base that is a folder goes there from here. A guess."""

EXAM_SECONDS: Final = 300.0
"""Loading the base twice, before and after training; what is asked then comes to it. An estimate, not measured."""

TOKENS_PER_SECOND: Final = 2_400.0
"""Trained on an RTX 4090 with a base of 8 billion parameters in 4 bit, where a job does not say how long it takes:
published by torchtune's README, not measured here."""

TFLOPS: Final[Mapping[str, float]] = {
    "RTX 3090": 71, "RTX 4090": 165, "RTX 5090": 209, "RTX A6000": 155, "RTX 6000Ada": 364, "L40S": 362,
    "A100 PCIE": 312, "A100 SXM4": 312, "H100 PCIE": 756, "H100 SXM": 989, "H200": 989,
}  # fmt: skip
"""Dense bf16 with fp32 accumulation, by Vast's names, from the vendor's data sheets: speeds are scaled by it."""


@attrs.frozen(kw_only=True)
class Offer:
    """A machine that can be rented, and what the job would be on it."""

    id: int
    machine: int
    """Vast's id of the hardware."""
    gpu: str
    gpus: int
    gpu_gb: float
    """Memory of one GPU."""
    usd_per_hour: Decimal
    """With the disk that was asked for."""
    usd_per_gb: Decimal
    """Of traffic, the dearer direction."""
    reliability: float
    """Share of the time in which the machine was there, 0 to 1."""
    gigabytes: float
    """Of image and base, which it fetches or gets before it can begin."""
    mbit_down: float
    where: str
    hours: float
    """Expected, from renting to the end."""
    usd: Decimal
    """For those hours and the traffic."""
    expected_usd: Decimal
    """Per finished job: a machine that vanishes is paid and another one begins."""

    def __str__(self) -> str:
        return (
            f"{self.gpus} x {self.gpu} ({self.gpu_gb:.0f} GB), ${self.usd_per_hour:.2f} an hour, {self.where or 'somewhere'}: "
            f"about ${self.usd:.2f} in {max(1, round(self.hours * 60))} min"
        )


def base_gb(needs: Needs) -> float:
    """What is fetched or sent for the base."""
    return BASE_GB if needs.base_gb is None else needs.base_gb


def worst(offer: Offer, *, hours: float, seconds: float) -> Decimal:
    """Dollars for a machine that is used up to its last hour.

    Args:
        offer: The machine.
        hours: For which it may be used.
        seconds: After that, until it has given itself back.
    """
    used = offer.usd_per_hour * Decimal(str(hours))
    checkpoints = used * Decimal(str(CHECKPOINTS)) if offer.usd_per_gb else Decimal(0)
    back = offer.usd_per_hour * Decimal(str(seconds / 3600))
    return used + checkpoints + back + offer.usd_per_gb * Decimal(str(offer.gigabytes + CARRIED_GB))


def least(offer: Offer, *, seconds: float) -> Decimal:
    """Dollars without which the job is not begun on *offer*: what is expected, and *seconds* for giving it back."""
    hours = Decimal(str(offer.hours)) + Decimal(str(seconds / 3600))
    return offer.usd_per_hour * hours + offer.usd_per_gb * Decimal(str(offer.gigabytes))


def query(
    *, gpu: str, gpus: int, usd_per_hour: float | None, disk_gb: float, reliability: float, vram_gb: float
) -> dict[str, Any]:
    """The search of Vast for machines that can do it: names as its SDK takes them, numbers as numbers."""
    wanted: dict[str, Any] = {
        "gpu_name": {"eq": gpu.replace("_", " ")},
        "num_gpus": {"eq": gpus},
        "verified": {"eq": True},
        "external": {"eq": False},
        "rentable": {"eq": True},
        "rented": {"eq": False},
        "reliability2": {"gte": reliability},
        "inet_down": {"gte": 200},
        "disk_space": {"gte": disk_gb},
        "cuda_max_good": {"gte": 12.8},
        "direct_port_count": {"gte": 1},
    }
    if usd_per_hour is not None:
        wanted["dph_total"] = {"lte": usd_per_hour}
    if vram_gb:
        wanted["gpu_ram"] = {"gte": round(vram_gb * 1024)}
    return wanted


def rank(found: Iterable[Mapping[str, Any]], needs: Needs, *, excluded: Iterable[int] = ()) -> list[Offer]:
    """Offers by dollars per expected finished job, the cheapest first.

    Expected hours are the download of image and base at the offer's own line (of a base that is sent from here, at a line
    as homes have it), the set-up, the exam, and the job's own work at the GPU's speed. A machine is there with its reliability r; one that vanishes costs what was spent and another one
    begins, so a finished job costs 1/r of one.
    """
    skipped = set(excluded)
    offers = [offer for each in found if (offer := _offer(each, needs)) is not None and offer.machine not in skipped]
    return sorted(offers, key=lambda offer: (offer.expected_usd, offer.id))


def _offer(found: Mapping[str, Any], needs: Needs) -> Offer | None:
    try:
        gpu = str(found["gpu_name"])
        mbit = max(1.0, float(found["inet_down"]))
        rate = Decimal(str(found["dph_total"]))
        base = base_gb(needs)
        base_mbit = min(mbit, HOME_MBIT) if needs.sends_base else mbit
        per_gb = max(Decimal(str(found.get(name) or 0)) for name in ("inet_down_cost", "inet_up_cost"))
        reliability = min(1.0, max(0.05, float(found.get("reliability2") or found.get("reliability") or 0.5)))
        speed = TFLOPS.get(gpu, 100.0) / TFLOPS["RTX 4090"] * int(found["num_gpus"])
        work = needs.tokens / TOKENS_PER_SECOND if needs.seconds is None else needs.seconds
        arriving = 8e3 * (IMAGE_GB / mbit + base / base_mbit)
        seconds = SETUP_SECONDS + EXAM_SECONDS + arriving + (work + needs.exam_seconds) / speed
        usd = rate * Decimal(str(round(seconds / 3600, 6))) + per_gb * Decimal(str(IMAGE_GB + base))
        return Offer(
            id=int(found["id"]),
            machine=int(found["machine_id"]),
            gpu=gpu,
            gpus=int(found["num_gpus"]),
            gpu_gb=float(found.get("gpu_ram") or 0) / 1024,
            usd_per_hour=rate,
            usd_per_gb=per_gb,
            reliability=reliability,
            gigabytes=IMAGE_GB + base,
            mbit_down=mbit,
            where=str(found.get("geolocation") or ""),
            hours=seconds / 3600,
            usd=usd,
            expected_usd=usd / Decimal(str(reliability)),
        )
    except (KeyError, TypeError, ValueError, ArithmeticError):
        return None  # an offer that does not say what it is

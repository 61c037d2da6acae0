"""What an answer says in words: the same on every page, terminal, picture and interface.

Knows groups of cells and measured rates of hints; nothing of how words are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from locationnet.geo.country_names import country_name
from locationnet.model.cells import CellLayer
from locationnet.model.manifest import HintRate
from locationnet.model.rollups import Group, RollUp

ABSTAINED = "This photo does not say where it was taken"
WHAT_HELPS = (
    "A landmark, a street, a sign or a landscape says more than things that are everywhere."
)
UNSURE = "Not sure"
DEMO = "This demo model can seldom tell; a real one is one command away: locationnet import geoclip"
# A group is named as the answer where it holds as much.
_HALF = 0.5
# What was as probable before the photo is known from elsewhere: a user named the region.
_KNOWN = 0.995
# A hint becomes the headline where such hints are right at least as often, 95 times in 100.
_EARNED = 0.2
_ROUNDING = 1e-12


def likely(levels: Iterable[RollUp]) -> Group | None:
    """Return the finest group that holds half of the probability and was not as good as certain.

    Parameters
    ----------
    levels
        The answer by city, region, country and continent, in this order.
    """
    return next((group for group in _halves(levels) if group.prior < _KNOWN), None)


def headline(
    levels: Sequence[RollUp], layer: CellLayer, hint: Group | None, *, calibrated: bool, demo: bool
) -> str:
    """Return the finest thing about an answer that can be believed, as a sentence without a stop.

    Parameters
    ----------
    levels
        The answer by city, region, country and continent, in this order.
    layer
        Its cells.
    hint
        The strongest hint, where it has earned it; see `has_earned`.
    calibrated
        Whether anybody has compared the probabilities with how often they are right.
    demo
        Whether a demo answers, which then says what to do about it.
    """
    group = likely(levels)
    if group is not None:
        note = "" if calibrated else ", not calibrated"
        inside = _first_inside(levels, group, layer)
        return f"Probably {group.name} ({percent_text(group.probability)}{note}){inside}"
    known = next(_halves(levels), None)
    unsure = UNSURE + (f" where in {known.name}" if known else "")
    if hint is not None:
        return (
            f"{unsure}. Strongest hint: {hint.name},"
            f" {times_text(hint.lift)} more likely than without the photo"
        )
    return unsure + (f". {DEMO}" if demo else "")


def has_earned(rate: HintRate | None) -> bool:
    """Whether hints like this were right often enough to be a headline (lower bound 20 %)."""
    return rate is not None and rate.country is not None and rate.country.low >= _EARNED


def hint_text(hint: Group, rate: HintRate | None) -> str:
    """Return what the photo raised most, and how often such hints were right on photos held out."""
    text = (
        f"The photo raised {hint.name} most: {times_text(hint.lift)} more likely than without it,"
        f" {percent_text(hint.probability)}."
    )
    if rate is None or rate.country is None:
        return f"{text} How often this model's hints are right was not measured."
    right = rate.country
    return (
        f"{text} On {rate.photos:,} photos held out, hints like this named the right country for"
        f" {100 * right.value:.0f} % (95 % interval: {100 * right.low:.0f} to"
        f" {100 * right.high:.0f} %)."
    )


def explanation(labels: Sequence[str], hint: Group | None) -> str:
    """Return what was seen and where it points; ``""`` where nothing was."""
    if not labels:
        return ""
    points = f" → {hint.name} {times_text(hint.lift, before=True)}" if hint else ""
    return f"The photo shows: {', '.join(labels)}{points}"


def times_text(lift: float, *, before: bool = False) -> str:
    """Return a lift as people write it, ``"44 ×"``, or ``"× 44"`` behind the name of a place."""
    number = f"{lift:,.0f}" if lift >= 9.95 else f"{lift:.1f}" if lift >= 0.095 else f"{lift:.2g}"
    return f"× {number}" if before else f"{number} ×"


def percent_text(probability: float) -> str:
    """Return a probability in percent, never rounded to none or all of it."""
    percent = 100 * probability
    if percent > 99.5:
        return "more than 99 %" if probability < 1 else "100 %"
    if percent < 0.05:
        small = f"{percent:.2f} %" if percent >= 0.005 else "less than 0.01 %"
        return small if percent else "0 %"
    return f"{percent:.0f} %" if percent >= 9.95 else f"{percent:.1f} %"


def _halves(levels: Iterable[RollUp]) -> Iterator[Group]:
    """Yield the groups that hold half of the probability, the finest first."""
    for groups in levels:
        yield from (one for one in groups.first(1) if one.probability >= _HALF - _ROUNDING)


def _first_inside(levels: Sequence[RollUp], group: Group, layer: CellLayer) -> str:
    """Return ``": CITY first"``, the most probable city of a region, country or continent."""
    cities, *coarser = levels
    for groups in coarser:
        first = groups.within(group, cities) if groups.level == group.level else None
        if first is not None:
            city = layer.names.city[first.class_index]
            country = country_name(layer.names.country[first.class_index])
            return f": {f'{city}, {country}' if group.level == 'continent' else city} first"
    return ""

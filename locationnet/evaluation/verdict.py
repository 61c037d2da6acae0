"""What a benchmark's results mean, in three sentences: the same on a terminal and in the report.

Knows measures, and what may be concluded from their intervals; not how they were measured.
"""

from __future__ import annotations

from locationnet.evaluation.bootstrap import Interval
from locationnet.evaluation.report import FIRST_ANSWER, Results
from locationnet.geo.sphere import GEOSCORE_MAX
from locationnet.model.summary import percent_text


def verdict(results: Results) -> tuple[str, str, str]:
    """Return how near the answers are, what looking at the photos was worth, and how honest.

    Of answers whose model is not known, the second sentence compares them with any point at all,
    and the third says how often the country is right.
    """
    guessed = results.guesses.get("best point") or results.guesses[FIRST_ANSWER]
    return _how_near(results), _worth(results, guessed.geoscore), _honesty(results)


def _how_near(results: Results) -> str:
    guessed = results.guesses.get("best point") or results.guesses[FIRST_ANSWER]
    photos = len(results.benchmark)
    limits = sorted(guessed.within)
    # The nearest radius that holds half of the photos, and the one before it.
    enough = (index for index, one in enumerate(limits) if guessed.within[one].value >= 0.5)
    last = next(enough, len(limits) - 1)
    shares = [(limit, guessed.within[limit].value) for limit in limits[max(0, last - 1) : last + 1]]
    *nearer, (wide, share) = shares
    count = round(share * photos)
    text = (
        f"{count:,} of {photos:,} photo{'' if photos == 1 else 's'} ({percent_text(share)})"
        f" {'is' if count == 1 else 'are'} placed within {wide:,g} km of where"
        f" {'it was' if count == 1 else 'they were'} taken"
    )
    for limit, share in nearer:
        text += f", {round(share * photos):,} ({percent_text(share)}) within {limit:,g} km"
    if guessed.median_km is not None and photos > 1:
        text += f"; half of the answers are more than {_distance(guessed.median_km.value)} off"
    return f"{text}; {results.broken}." if results.broken else f"{text}."


def _worth(results: Results, score: Interval) -> str:
    gain = results.measures.get("over_prior", {}).get("geoscore")
    if gain is None:
        blind = results.guesses["anywhere"].geoscore.value
        return (
            f"The answers earn a GeoScore of {score.value:,.0f} of {GEOSCORE_MAX:,.0f}, where"
            f" pointing anywhere on Earth earns {blind:,.0f}."
        )
    if gain.low > 0:
        found = "Looking at the photos helped"
    elif gain.high < 0:
        found = "Looking at the photos did harm"
    else:
        found = "Looking at the photos made no difference that they can show"
    blind = results.guesses["prior: best point"].geoscore.value
    return (
        f"{found}: GeoScore {score.value:,.0f} of {GEOSCORE_MAX:,.0f}, against {blind:,.0f} of one"
        " point that is chosen without a photo"
        f" (difference {gain.value:+,.0f} [{gain.low:+,.0f}, {gain.high:+,.0f}])."
    )


def _honesty(results: Results) -> str:
    measures = results.measures
    if "inside_50" not in measures:
        country, region = (percent_text(measures[name].value) for name in ("country", "region"))
        return (
            f"The country of the first answer is right for {country} of the photos, the region for"
            f" {region}."
        )
    half, most, abstained = (measures[name] for name in ("inside_50", "inside_90", "abstained"))
    too_small = half.high < 0.5 or most.high < 0.9
    too_large = half.low > 0.5 or most.low > 0.9
    if too_small and too_large:
        found = "they are not to be believed"
    elif too_small:
        found = "they are too small, so the model is surer than it should be"
    elif too_large:
        found = "they are larger than they need be"
    else:
        found = "they can be believed"
    text = (
        "The model's circles that should hold half and nine tenths of the true places hold"
        f" {percent_text(half.value)} and {percent_text(most.value)}: {found}"
    )
    if abstained.value:
        text += f"; of {percent_text(abstained.value)} of the photos it says that it cannot tell"
    return f"{text}."


def _distance(km: float) -> str:
    return f"{km:,.0f} km" if km >= 10 else f"{km:.2g} km"

"""What a request may ask for beside its photo, and how that changes a prediction.

Knows predictions; nothing of photos or of HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from locationnet.model.prediction import MAX_COARSE_KM, Prediction
from locationnet.model.region import Region

MAX_TOP_K = 100
DEFAULT_TOP_K = 5


def _split(value: object) -> object:
    """Take ``a,b`` for a list, also where it stands in a query as a list of one."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        [value] = value
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    return tuple(value) if isinstance(value, list) else value


# Tuples, so that options can be a key of what was computed for them.
_Countries = Annotated[tuple[str, ...], BeforeValidator(_split), Field(max_length=250)]
_Box = Annotated[tuple[float, ...], BeforeValidator(_split), Field(min_length=4, max_length=4)]
_Circle = Annotated[tuple[float, ...], BeforeValidator(_split), Field(min_length=3, max_length=3)]


class Options(BaseModel):
    """What may be asked for: in the query, as fields of a form, or in the JSON, which wins."""

    model_config = ConfigDict(frozen=True)

    top_k: int = Field(DEFAULT_TOP_K, ge=1, le=MAX_TOP_K, description="How many places.")
    coarse_km: float | None = Field(
        None, gt=0, le=MAX_COARSE_KM, description="Answer over cells nowhere narrower than this."
    )
    countries: _Countries | None = Field(
        None, description="The photo is from one of these: ISO codes of two letters, by commas."
    )
    bbox: _Box | None = Field(
        None, description="The photo is from this box: west,south,east,north in degrees."
    )
    near: _Circle | None = Field(
        None, description="The photo is from this circle: latitude,longitude,kilometres."
    )
    certainty: float = Field(
        1.0, gt=0, le=1, description="The confidence in that: the region's probability in all."
    )
    heatmap: bool = Field(
        False, description="Add the cells that hold 95 % of the probability as GeoJSON."
    )
    explain: bool = Field(False, description="Add what was seen, for models that can say it.")

    def with_fields(self, fields: dict[str, Any]) -> Options:
        """Return these options with some replaced.

        Raises
        ------
        ValidationError
            A value cannot be used.
        """
        return Options.model_validate({**self.model_dump(exclude_unset=True), **fields})

    @property
    def region(self) -> Region:
        """Where the photo is known to come from.

        Raises
        ------
        ValueError
            It is no region.
        """
        return region(self.countries, self.bbox, self.near)


def region(
    countries: Sequence[str] | None, bbox: Sequence[float] | None, near: Sequence[float] | None
) -> Region:
    """Return a region from its plain values; see `Region`."""
    box = (bbox[0], bbox[1], bbox[2], bbox[3]) if bbox else None
    circle = (near[0], near[1], near[2]) if near else None
    return Region(tuple(countries or ()), box, circle)


def refined(
    prediction: Prediction, options: Options, bounds: Region, min_radius_km: float
) -> Prediction:
    """Return a prediction as a request and the operator want it.

    Parameters
    ----------
    prediction
        The model's answer.
    options
        The request's.
    bounds
        The operator's region, which holds for every answer.
    min_radius_km
        The operator's coarseness: no answer is finer; 0 sets no bound.

    Raises
    ------
    ValueError
        No cell lies in the region.
    """
    prediction = replace(prediction, top_k=options.top_k)
    if bounds:
        prediction = prediction.within(bounds)
    if min_radius_km:
        # Before the request's region: one that cut a coarse cell in two would tell them apart.
        prediction = prediction.coarse(min_radius_km)
    if options.region:
        prediction = prediction.within(options.region, options.certainty)
    if options.coarse_km is not None and options.coarse_km > min_radius_km:
        prediction = prediction.coarse(options.coarse_km)
    return prediction

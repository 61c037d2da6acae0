"""What the service reads and answers, as pydantic models with examples for the documentation.

Knows the shapes only; where the values come from is for `locationnet.model` to say.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from locationnet.server.request_options import Options
from locationnet.server.settings import MAX_BATCH_PHOTOS


class PhotoURL(Options):
    """A photo to fetch and locate; its options win over the query's."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"url": "https://example.org/photo.jpg", "top_k": 5}},
    )

    url: str = Field(description="http or https, on the usual port.")


class PhotoURLs(Options):
    """Photos to fetch and locate."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"example": {"urls": ["https://example.org/photo.jpg"], "top_k": 5}},
    )

    urls: list[str] = Field(min_length=1, max_length=MAX_BATCH_PHOTOS, description="In order.")


_LIFT = "How many times more probable than before the photo was seen."


class Place(BaseModel):
    """One cell of the answer."""

    rank: int = Field(examples=[1])
    probability: float = Field(examples=[0.14])
    lift: float = Field(description=_LIFT, examples=[14.2])
    lat: float = Field(description="Of the cell's centroid, degrees.", examples=[35.66])
    lng: float = Field(description="Of the cell's centroid, degrees.", examples=[139.73])
    cell: str = Field(description="S2 token.", examples=["60188b64"])
    level: int = Field(description="S2 level.", examples=[13])
    place: str = Field(
        description="City, region, country; or empty.", examples=["Minato, Tokyo, JP"]
    )


class City(BaseModel):
    """All cells of one city; in coarse answers of one country."""

    name: str = Field(
        description="City, region, country; or the country.", examples=["Minato, Tokyo, JP"]
    )
    probability: float = Field(examples=[0.21])
    lift: float = Field(description=_LIFT, examples=[14.2])
    cells: int = Field(description="Of the grid, in this city.", examples=[3])
    lat: float = Field(description="Of its most probable cell's centroid.", examples=[35.66])
    lng: float = Field(description="Of its most probable cell's centroid.", examples=[139.73])


class Country(BaseModel):
    """All cells of one country."""

    country: str = Field(description="ISO 3166-1 alpha-2.", examples=["JP"])
    name: str = Field(examples=["Japan"])
    probability: float = Field(examples=[0.6])
    lift: float = Field(description=_LIFT, examples=[9.1])


class Hint(City):
    """The city, or in coarse answers the country, that gained most: largest p · log2(lift)."""

    earned: bool = Field(
        description="Whether such hints were right often enough on photos held out to be believed."
    )
    text: str = Field(description="The hint in words, with how often such hints were right.")


class BestPoint(BaseModel):
    """A single best guess."""

    lat: float = Field(description="Degrees.", examples=[35.66])
    lng: float = Field(description="Degrees.", examples=[139.73])
    place: str = Field(
        description="City, region, country; or empty.", examples=["Minato, Tokyo, JP"]
    )


class RadiusKm(BaseModel):
    """The smallest radii around a place that hold 50 % and 90 % of the probability."""

    half: float = Field(alias="50", examples=[3.1])
    most: float = Field(alias="90", examples=[410.0])


class SimilarPhoto(BaseModel):
    """A photo of the index, with what is known of whose it is; texts may be empty."""

    id: str = Field(examples=["2023/0417.jpg"])
    lat: float = Field(examples=[35.6586])
    lng: float = Field(examples=[139.7454])
    similarity: float = Field(description="Cosine, up to 1.", examples=[0.83])
    distance_km: float = Field(description="From the first of the predictions.", examples=[0.2])
    taken: str = Field(examples=["2023-04-17 10:02:11"])
    licence: str = Field(examples=["CC BY 4.0"])
    author: str = Field(examples=["Anna Example"])
    page: str = Field(description="Where it can be seen.", examples=["https://example.org/417"])


class Evidence(BaseModel):
    """Something seen in the photo, and how far it moved the answer."""

    label: str = Field(examples=["volcano"])
    probability: float = Field(examples=[0.91])
    bits: float = Field(examples=[0.4])


class Guess(BaseModel):
    """Ranked places, the best single point and how far around it the answer reaches."""

    predictions: list[Place]
    best: BestPoint = Field(description="The point with the highest expected GeoScore.")
    radius_km: RadiusKm = Field(description="Around `best`.")


class ModelName(BaseModel):
    """Which model answered."""

    name: str = Field(examples=["demo"])
    version: str = Field(examples=["1.0.0"])
    grid_sha256: str


class TimingMs(BaseModel):
    """What took how long, milliseconds; ``fetch`` is 0 for a photo that was sent."""

    fetch: float = Field(examples=[80.0])
    decode: float = Field(examples=[12.0])
    queue: float = Field(description="Waiting for the network.", examples=[3.0])
    infer: float = Field(description="Of the whole batch.", examples=[20.0])


class Answer(Guess):
    """Where a photo was probably taken."""

    summary: str = Field(
        description="The answer in a sentence, at the finest level that can be believed.",
        examples=["Probably Japan (60 %): Minato first"],
    )
    located: bool = Field(
        description="Whether one city, region, country or continent holds half of the probability: "
        "the summary then names it."
    )
    mode_radius_km: RadiusKm = Field(description="Around the first of the predictions.")
    cities: list[City] = Field(
        description="The most probable ones, as many as top_k; none in coarse answers."
    )
    raised: list[City] = Field(
        description="The cities, or in coarse answers countries, with the largest lifts."
    )
    countries: list[Country] = Field(description="The most probable ones, as many as top_k.")
    hint: Hint | None = Field(None, description="Not where the photo made no city more probable.")
    abstained: bool = Field(description="The photo says too little for the answer to be used.")
    information_bits: float = Field(
        description="How far the photo moved the answer from the prior.", examples=[0.6]
    )
    explanation: str | None = Field(
        None,
        description="Only with explain: what was seen and where it points; empty where the model "
        "cannot say.",
        examples=["The photo shows: torii → Minato, Tokyo, JP × 14"],
    )
    evidence: list[Evidence] | None = Field(
        None, description="Only with explain; empty where the model cannot say."
    )
    neighbours: list[SimilarPhoto] | None = Field(
        None,
        description="Only of a service with an index: the similar photos that took part, most "
        "similar first; none in coarse answers.",
    )
    calibrated: Literal[False] | None = Field(
        None,
        description="Only where nobody has compared the model's probabilities with how often they "
        "are right.",
    )
    demo: Literal[True] | None = Field(None, description="Only where the model is a demo.")
    prior: Guess | None = Field(
        None, description="Only beside a demo's answer: what it says without any photo."
    )
    heatmap: dict[str, Any] | None = Field(
        None,
        description="Only where asked for: the fewest cells that hold 95 % of the probability, a "
        "GeoJSON FeatureCollection, most probable first; properties cell, probability, lift, rank.",
    )
    area: dict[str, Any] | None = Field(
        None,
        description="Only with heatmap: the least area that holds half of the probability, as "
        "cells of a GeoJSON FeatureCollection.",
    )
    model: ModelName
    timing_ms: TimingMs


class ProblemDetails(BaseModel):
    """An error, RFC 9457."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Forbidden"])
    status: int = Field(examples=[403])
    detail: str


class BatchResult(BaseModel):
    """What came of one photo of a batch: its answer or its problem."""

    status: int = Field(examples=[200])
    answer: Answer | None = None
    problem: ProblemDetails | None = None


class BatchAnswer(BaseModel):
    """What came of each photo, in order."""

    results: list[BatchResult]


class ModelFields(BaseModel):
    """What the loaded bundle says of itself."""

    name: str = Field(examples=["demo"])
    version: str = Field(examples=["1.0.0"])
    demo: bool
    calibrated: bool = Field(
        description="Whether the model's probabilities were compared with how often they are right."
    )
    explains: bool = Field(description="Whether answers can name what was seen.")
    precision: str = Field(examples=["f32"])
    description: str
    license: str = Field(examples=["Apache-2.0"])
    grid_sha256: str
    classes: int = Field(description="Cells of the grid.")
    preprocessing: dict[str, Any]
    abstain_below_bits: float
    training: dict[str, Any]
    accuracy: dict[str, Any]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(BaseModel):
    """The model answers."""

    status: Literal["ready"] = "ready"

"""What a request may ask for: the same from the query, a form or JSON; and what it cannot get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from locationnet.model.locator import Locator, load_model
from locationnet.model.region import Region
from locationnet.server.request_options import Options, refined
from locationnet.server.schemas import PhotoURL

Make = Callable[..., bytes]
RED = (200, 30, 30)
URL = "https://example.org/photo.jpg"
NONE = Options.model_validate({})


def _fields(reply: Any) -> Any:
    assert reply.status == 200, reply.body
    return {key: value for key, value in reply.json.items() if key != "timing_ms"}


WANTED: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"top_k": 2}, {"top_k": "2"}),
    ({"coarse_km": 250.5}, {"coarse_km": "250.5"}),
    ({"countries": ["no", "KE"]}, {"countries": "no,KE"}),
    ({"countries": "NO, KE"}, {"countries": "NO,%20KE"}),
    ({"bbox": [-130, 30, -120, 40.5]}, {"bbox": "-130,30,-120,40.5"}),
    ({"near": [37.8, -122.3, 60], "certainty": 0.7}, {"near": "37.8,-122.3,60", "certainty": ".7"}),
    ({"heatmap": True, "explain": True}, {"heatmap": "true", "explain": "1"}),
]


@pytest.mark.parametrize(("as_json", "as_query"), WANTED)
def test_query_form_and_json_ask_for_the_same(
    client: Any,
    photo_server: Any,
    make_photo: Make,
    as_json: dict[str, Any],
    as_query: dict[str, str],
) -> None:
    photo = make_photo(RED)
    url = photo_server.put("/red.jpg", photo)
    query = "?" + "&".join(f"{name}={value}" for name, value in as_query.items())
    fields = {name: value.replace("%20", " ") for name, value in as_query.items()}
    asked = _fields(client.raw(photo, query=query))
    assert asked == _fields(client.form(photo, **fields)) == _fields(client.url(url, **as_json))
    assert asked != _fields(client.raw(photo))


def test_a_list_may_also_be_given_part_by_part(client: Any, make_photo: Make) -> None:
    photo = make_photo(RED)
    query = _fields(client.raw(photo, query="?countries=NO&countries=KE"))
    parts = [f'name="countries"\r\n\r\n{code}'.encode() for code in ("NO", "KE")]
    parts.append(b'name="file"; filename="a"\r\n\r\n' + photo)
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    form = client.raw(body + b"--b--\r\n", "multipart/form-data; boundary=b")
    assert _fields(form) == query == _fields(client.raw(photo, query="?countries=NO,KE"))


def test_the_body_wins_over_the_query(client: Any, make_photo: Make) -> None:
    photo = make_photo()
    boundary_free = client.form(photo, path="/locate?top_k=3&countries=NO,KE", top_k="1")
    answer = boundary_free.json
    assert len(answer["predictions"]) == 1


MALFORMED = [
    ("top_k", "many"), ("coarse_km", "wide"), ("bbox", "1,2,3"), ("bbox", "1,2,3,4,5"),
    ("bbox", "a,b,c,d"), ("bbox", ""), ("near", "1,2"), ("near", ","), ("certainty", "sure"),
    ("heatmap", "perhaps"), ("explain", "2"), ("countries", ",".join(["FR"] * 251)),
]  # fmt: skip
OUT_OF_RANGE = [
    ("top_k", "0"), ("coarse_km", "0"), ("coarse_km", "6001"), ("coarse_km", "inf"),
    ("coarse_km", "nan"), ("certainty", "0"), ("certainty", "1.5"), ("certainty", "nan"),
    ("bbox", "0,10,5,5"), ("bbox", "nan,0,0,5"), ("bbox", "-181,0,0,5"), ("near", "0,0,0"),
    ("near", "0,0,inf"), ("near", "91,0,5"), ("countries", "FRA"), ("countries", ""),
    ("countries", "FR,,DE"), ("countries", "ZZ"), ("near", "0,0,1"), ("bbox", "0,0,1,1"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), MALFORMED)
def test_what_cannot_be_read_is_400(client: Any, make_photo: Make, name: str, value: str) -> None:
    for reply in (
        client.raw(make_photo(), query=f"?{name}={value}"),
        client.form(make_photo(), **{name: value}),
    ):
        assert reply.status == 400
        assert name in reply.problem


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE)
def test_what_is_out_of_range_is_422(client: Any, make_photo: Make, name: str, value: str) -> None:
    for reply in (
        client.raw(make_photo(), query=f"?{name}={value}"),
        client.form(make_photo(), **{name: value}),
    ):
        assert reply.status == 422
        assert reply.problem


@pytest.mark.parametrize(
    "fields", [{"bbox": [1, 2, "3", 4]}, {"near": {}}, {"heatmap": "true"}, {"countries": [1]}]
)
def test_json_is_read_strictly(client: Any, fields: dict[str, Any]) -> None:
    assert client.url(URL, **fields).status == 400


json_options = st.fixed_dictionaries(
    {},
    optional={
        "top_k": st.integers(1, 100),
        "coarse_km": st.floats(0.1, 6000),
        "countries": st.lists(st.sampled_from(["FR", "de", "NO"]), min_size=1, max_size=3),
        "bbox": st.tuples(*[st.floats(-80, 80)] * 4).map(list),
        "near": st.tuples(*[st.floats(0.1, 80)] * 3).map(list),
        "certainty": st.floats(0.01, 1),
        "heatmap": st.booleans(),
    },
)


@given(json_options)
def test_texts_and_json_are_read_as_the_same_options(wanted: dict[str, Any]) -> None:
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in wanted.items()
    }
    read = PhotoURL.model_validate({"url": URL, **wanted}, strict=False)
    assert Options.model_validate(texts) == NONE.with_fields(
        read.model_dump(exclude={"url"}, exclude_unset=True)
    )
    assert hash(Options.model_validate(texts)) == hash(Options.model_validate(wanted))


@given(st.dictionaries(st.sampled_from(sorted(Options.model_fields)), st.text(max_size=30)))
def test_any_text_is_read_or_refused(fields: dict[str, str]) -> None:
    try:
        _ = NONE.with_fields(fields).region
    except (ValidationError, ValueError):
        return


# The operator's word holds for every answer.


@settings(max_examples=40, deadline=None)
@given(
    near=st.tuples(st.floats(37.5, 38.2), st.floats(-122.7, -122), st.floats(1, 60)),
    certainty=st.floats(0.1, 1),
    coarse_km=st.none() | st.floats(1, 900),
)
def test_no_region_tells_apart_what_is_in_one_coarse_cell(
    tiny_locator: Locator,
    near: tuple[float, float, float],
    certainty: float,
    coarse_km: float | None,
) -> None:
    """San Francisco and Oakland are one cell of 200 km: whoever is told may not find out which."""
    base = tiny_locator.prior()
    cities = tiny_locator.bundle.names.city
    options = NONE.with_fields({"near": near, "certainty": certainty, "coarse_km": coarse_km})
    answers = []
    for share in (0.01, 0.99):
        masses = {"San Francisco": 0.5 * share, "Oakland": 0.5 * (1 - share)}
        probabilities = np.array([masses.get(city, 0.25) for city in cities])
        fine = replace(base, probabilities=probabilities)
        try:
            answers.append(refined(fine, options, Region(), 200.0).to_dict())
        except ValueError:
            answers.append({})
    assert answers[0] == answers[1]


@pytest.mark.parametrize("query", ["", "?coarse_km=1", "?near=37.8,-122.3,40", "?heatmap=true"])
def test_no_answer_is_finer_than_the_operator_wants(
    serving: Any, tiny_locator: Locator, make_photo: Make, query: str
) -> None:
    with serving(tiny_locator, min_radius_km=200) as client:
        answer = client.raw(make_photo(RED), query=query).json
        coarser = client.raw(make_photo(RED), query="?coarse_km=900").json
    assert answer["radius_km"]["50"] >= 200
    assert coarser["radius_km"]["50"] >= 900
    for found in [answer, *answer["predictions"]]:
        assert found.get("level", 0) <= 5
    fine = {(place.lat, place.lng) for place in tiny_locator.prior(4).places}
    assert not fine & {(place["lat"], place["lng"]) for place in answer["predictions"]}
    if "heatmap" in answer:
        levels = {len(f["properties"]["cell"]) for f in answer["heatmap"]["features"]}
        assert max(levels) <= 4  # hexadecimal digits of a cell of level 5


def test_an_operators_region_holds_for_every_answer(
    serving: Any, tiny_locator: Locator, make_photo: Make
) -> None:
    with serving(tiny_locator, countries="NO,KE") as client:
        answer = client.raw(make_photo(RED)).json
        assert {place["place"][-2:] for place in answer["predictions"] if place["probability"]} <= {
            "NO",
            "KE",
        }
        assert client.raw(make_photo(RED), query="?countries=US").status == 422


def test_the_operator_says_when_answers_abstain(
    serving: Any, tiny_bundle: Any, make_photo: Make
) -> None:
    for bits, abstained in ((0.0, False), (50.0, True)):
        locator = load_model(tiny_bundle, abstain_below_bits=bits)
        with serving(locator, abstain_below_bits=bits) as client:
            answer = client.raw(make_photo(RED)).json
            assert answer["abstained"] is abstained
            assert answer["information_bits"] > 0
            assert client.get("/model").json


def test_evidence_comes_where_asked_for(serving: Any, demo_locator: Locator, rocket: Any) -> None:
    photo = rocket.read_bytes()
    with serving(demo_locator) as client:
        assert "evidence" not in client.raw(photo).json
        answer = client.raw(photo, query="?explain=true").json
        assert answer["evidence"]
        assert all(item.keys() == {"label", "probability", "bits"} for item in answer["evidence"])
        assert client.raw(photo, query="?explain=true&coarse_km=100").json["evidence"] == []


def test_a_certainty_too_small_for_squares_still_answers(client: Any, make_photo: Make) -> None:
    photo = make_photo(RED)
    reply = client.raw(photo, query="?countries=NO&certainty=1e-300")
    assert _fields(reply)["best"] == _fields(client.raw(photo))["best"]

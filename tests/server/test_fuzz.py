"""Thousands of damaged photos and forms: each is answered, none with a 500."""

from __future__ import annotations

import importlib.util
import random
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_SCRIPT = Path(__file__).parents[2] / "scripts" / "fuzz_serve.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_serve", _SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of broken metadata
def test_damaged_photos_are_answered(client: Any, fuzz: ModuleType) -> None:
    counts: Counter[int] = Counter()
    for number, status in fuzz.tally(client.port, range(3000)):
        assert status in fuzz.EXPECTED, f"input {number}"
        counts[status] += 1
    # Some of the damage leaves a photo, some does not.
    assert counts[200] > 300
    assert counts[415] > 300


def test_the_same_seed_damages_alike(fuzz: ModuleType) -> None:
    photos = fuzz.seeds()
    damaged = [fuzz.damaged(photos, number) for number in range(200)]
    assert damaged == [fuzz.damaged(photos, number) for number in range(200)]
    assert len(set(damaged)) > 150


def test_damaged_forms_are_answered(client: Any, make_photo: Any) -> None:
    chance = random.Random(1)
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    whole = (
        part % (b"top_k", b"", b"3")
        + part % (b"countries", b"", b"NO,KE")
        + part % (b"file", b'; filename="a.jpg"', make_photo(size=(16, 16)))
        + b"--b--\r\n"
    )
    kinds = ["", "; charset=undefined", "; charset=idna", "; charset=utf-16", "; charset=base64"]
    found: Counter[int] = Counter()
    for _ in range(600):
        body = bytearray(whole)
        for _ in range(chance.randrange(4)):
            at = chance.randrange(len(body))
            if chance.random() < 0.5:
                body[at] = chance.randrange(256)
            else:
                del body[at : at + chance.randrange(1, 40)]
        kind = f"multipart/form-data; boundary=b{chance.choice(kinds)}"
        path = chance.choice(["/locate", "/locate/batch"])
        reply = client.ask("POST", path, bytes(body), {"Content-Type": kind})
        assert reply.status in (200, 400, 415, 422), (bytes(body), kind)
        found[reply.status] += 1
    assert found[200] > 30
    assert found[400] > 30

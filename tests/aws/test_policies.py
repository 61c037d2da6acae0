"""Policies allow what is explained beside them and nothing else."""

from __future__ import annotations

import re

import pytest

from tests.aws.policies import FOLDER, allowed

NAMES = sorted(path.stem.removeprefix("policy-") for path in FOLDER.glob("policy-*.json"))
DOCS = FOLDER.parents[1] / "docs" / "howto"


@pytest.mark.parametrize("name", NAMES)
def test_every_permission_is_explained(name: str) -> None:
    text = (DOCS / f"{name.partition('-')[0]}.md").read_text()
    table = text.split(f"`policy-{name}.json`, for")[1].split("\n\n")[1]
    explained = set(re.findall(r"`([a-z0-9]+:[A-Z]\w+)`", table))
    assert explained == allowed(name)

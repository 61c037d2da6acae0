"""The policies that ship, as sets of permissions."""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "scripts" / "aws"


def allowed(name: str) -> set[str]:
    """Return what a policy allows, such as ``ec2:RunInstances``."""
    found: set[str] = set()
    for statement in json.loads((FOLDER / f"policy-{name}.json").read_text())["Statement"]:
        actions = statement["Action"]
        found |= {actions} if isinstance(actions, str) else set(actions)
    return found

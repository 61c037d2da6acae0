"""Countries and regions are compared by name."""

from __future__ import annotations

import pyarrow as pa

from locationnet.evaluation.bootstrap import Bootstrap
from locationnet.evaluation.countries import place_scores


def test_a_region_counts_only_in_the_right_country() -> None:
    # Paris four times, and Sydney.
    table = pa.table(
        {
            "lat": [48.8566] * 4 + [-33.8688],
            "lng": [2.3522] * 4 + [151.2093],
            "mode_country": ["FR", "FR", "US", "", "AU"],
            "mode_region": ["\u00cele-de-France", "Brittany", "\u00cele-de-France", "", ""],
        }
    )
    found = place_scores(table, Bootstrap.of(None, 5))
    assert found["country"].value == 0.6
    assert found["region"].value == 0.2

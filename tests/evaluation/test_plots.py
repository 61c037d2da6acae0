"""Plots draw what they say."""

from __future__ import annotations

import numpy as np

from locationnet.evaluation.plots import error_distances


def test_the_curve_of_errors_rises_from_none_to_all_photos() -> None:
    errors = {"model": np.array([700.0, 3.0, 0.0, 30_000.0]), "prior": np.array([9.0] * 4)}
    (axes,) = error_distances(errors, (1.0, 25.0)).axes
    model, prior = axes.lines[:2]
    across, up = (np.asarray(values, float) for values in model.get_data())
    np.testing.assert_allclose(across, [0.01, 0.01, 3, 700, 20100, 20100])
    np.testing.assert_allclose(up, [0, 0.25, 0.5, 0.75, 1, 1])
    assert [line.get_label() for line in (model, prior)] == ["model", "prior"]
    # A model that is no better than the prior stays visible beneath it.
    assert model.get_linestyle() != prior.get_linestyle()

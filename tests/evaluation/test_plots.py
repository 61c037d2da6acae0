"""Plots draw what they say."""

from __future__ import annotations

import numpy as np

from locationnet.evaluation.calibration import reliability
from locationnet.evaluation.plots import error_distances, reliability_diagram


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


def test_a_diagram_of_shares_near_zero_is_logarithmic_and_has_more_than_one_dot() -> None:
    confidence = np.geomspace(0.001, 0.05, 300)
    found = reliability(confidence, np.arange(300) % 60 == 59)
    (axes,) = reliability_diagram(found).axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    places = np.asarray(axes.collections[-1].get_offsets())
    assert len(places) == 10
    # Those of which none is right lie on the lower edge.
    assert places[:, 1].min() == axes.get_ylim()[0] > 0
    assert found.photos.sum() == 300


def test_other_diagrams_of_shares_are_not() -> None:
    found = reliability(np.linspace(0.01, 1, 100), np.arange(100) % 2 == 0)
    (axes,) = reliability_diagram(found).axes
    assert (axes.get_xscale(), axes.get_xlim(), axes.get_ylim()) == ("linear", (0, 1), (0, 1))

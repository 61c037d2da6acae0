"""The last steps of the demo's graph: from what the network saw to where that is photographed.

Knows nothing of the network or of where the ratios come from. For concepts k with probability p_k
and ratios r_k(cell) = P(cell | k) / prior(cell)::

    evidence(cell) = 1 + sum of p_k (r_k(cell) - 1)
    answer(cell)   ∝ prior(cell) · evidence(cell)^γ

which is Q = Σ p_k P(cell | k) over all classes, where a class without ratios says nothing (its
P(cell | k) is the prior), and answer ∝ prior · (Q / prior)^γ. A concept's evidence in bits is the
Kullback–Leibler divergence of the answer from the answer with that concept's r_k set to 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from demo.network import Nodes

EVIDENCE = 5
OUTPUTS = ("probabilities", "evidence_class", "evidence_probability", "evidence_bits")


def add_answer(
    graph: Nodes,
    posterior: str,
    concepts: NDArray[np.int64],
    ratios: NDArray[np.float16],
    prior: NDArray[np.float32],
    gamma: float,
) -> None:
    """Write the steps from the network's `posterior` to `OUTPUTS` into `graph`.

    Parameters
    ----------
    graph
        Receives the nodes.
    posterior
        Name of the network's probabilities, float32 ``(N, classes of the network)``.
    concepts
        The network's class of each row of `ratios`, ``(concepts,)``.
    ratios
        r_k(cell), float16 ``(concepts, cells)``: between 0.01 and 300, where half precision keeps
        three digits and more of them than the table has.
    prior
        Share of photos in each cell, float32 ``(cells,)``.
    gamma
        The exponent γ.
    """
    weight, step = graph.weight, graph.step
    weight("one", np.float32(1))
    weight("gamma", np.float32(gamma))
    # Far below any real evidence; keeps rounding from ever making it zero or negative.
    weight("least", np.float32(1e-6))
    weight("per_bit", np.float32(1 / np.log(2)))
    weight("axis_1", np.array([1], np.int64))
    weight("axis_2", np.array([2], np.int64))
    weight("prior", prior[None, :])
    weight("concept_classes", concepts)
    weight("ratios_half", ratios)
    step("Cast", ["ratios_half"], "ratios", to=1)
    step("Sub", ["ratios", "one"], "excess")
    step("Gather", [posterior, "concept_classes"], "concept_probabilities", axis=1)

    step("MatMul", ["concept_probabilities", "excess"], "moved")
    step("Add", ["moved", "one"], "evidence_sum")
    step("Max", ["evidence_sum", "least"], "evidence")
    _tempered(graph, "evidence", "prior", "probabilities", axis="axis_1")

    # The concepts whose P(cell | k) is furthest from the prior, weighed by their probability.
    weight("divergence", _divergence(ratios, prior)[None, :])
    step("Mul", ["concept_probabilities", "divergence"], "weight_of_concept")
    weight("count", np.array([EVIDENCE], np.int64))
    graph.split("TopK", ["weight_of_concept", "count"], ["top_weight", "chosen"], axis=1)
    step("GatherElements", ["concept_probabilities", "chosen"], "chosen_probability", axis=1)

    # The answer without each of them: (N, EVIDENCE, cells).
    step("Gather", ["excess", "chosen"], "chosen_excess", axis=0)
    step("Unsqueeze", ["chosen_probability", "axis_2"], "chosen_weight")
    step("Mul", ["chosen_weight", "chosen_excess"], "contribution")
    step("Unsqueeze", ["evidence", "axis_1"], "evidence_each")
    step("Sub", ["evidence_each", "contribution"], "rest")
    step("Max", ["rest", "least"], "evidence_without")
    _tempered(graph, "evidence_without", "prior", "without", axis="axis_2")

    step("Unsqueeze", ["probabilities", "axis_1"], "with")
    step("Div", ["with", "without"], "change")
    step("Log", ["change"], "change_nats")
    step("Mul", ["with", "change_nats"], "terms")
    step("ReduceSum", ["terms", "axis_2"], "nats", keepdims=0)
    step("Mul", ["nats", "per_bit"], "signed_bits")
    step("Max", ["signed_bits", "zero"], "bits")

    # Strongest first.
    graph.split("TopK", ["bits", "count"], ["evidence_bits", "order"], axis=1)
    step("GatherElements", ["chosen", "order"], "evidence_class", axis=1)
    step("GatherElements", ["chosen_probability", "order"], "evidence_probability", axis=1)


def _tempered(graph: Nodes, evidence: str, prior: str, output: str, axis: str) -> None:
    """Add prior · evidence^γ, normalised over the cells, the last axis of both."""
    graph.step("Pow", [evidence, "gamma"], f"{output}.powered")
    graph.step("Mul", [f"{output}.powered", prior], f"{output}.weighed")
    graph.step("ReduceSum", [f"{output}.weighed", axis], f"{output}.total", keepdims=1)
    graph.step("Div", [f"{output}.weighed", f"{output}.total"], output)


def _divergence(ratios: NDArray[np.float16], prior: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return KL(P(cell | k) || prior) of each concept in bits, float32 ``(concepts,)``."""
    wide = ratios.astype(np.float64)
    return np.asarray((prior * wide * np.log2(wide)).sum(axis=1), np.float32)

"""Counts and durations for Prometheus; nothing in them reports on a photo.

Knows the names of the metrics; who reports them and when is elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

MEDIA_TYPE = CONTENT_TYPE_LATEST
# Where the processes of one server keep their metrics, set before any of them starts.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_PHOTOS = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


class Metrics:
    """One process's metrics."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "locationnet_requests", "Requests by what came of them.", ["path", "status"],
            registry=registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "locationnet_request_seconds", "From a request's first byte to its answer.", ["path"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._stage = Histogram(
            "locationnet_stage_seconds", "What a photo's answer took, by stage.", ["stage"],
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self.batch = Histogram(
            "locationnet_batch_photos", "Photos that went through the network together.",
            buckets=_PHOTOS, registry=registry,
        )  # fmt: skip
        self.inside = Gauge(
            "locationnet_queue_photos", "Photos that are being dealt with.",
            registry=registry, multiprocess_mode="livesum",
        )  # fmt: skip
        self._model = Gauge(
            "locationnet_model_info", "1 for the loaded model.",
            ["name", "version", "precision", "grid_sha256"],
            registry=registry, multiprocess_mode="livemax",
        )  # fmt: skip
        self._loaded: tuple[str, ...] | None = None

    def stages(self, seconds: Mapping[str, float]) -> None:
        """Note what the stages of an answer took."""
        for stage, duration in seconds.items():
            self._stage.labels(stage).observe(duration)

    def model(self, name: str, version: str, precision: str, grid_sha256: str) -> None:
        """Note which model is loaded, instead of the one before."""
        if self._loaded is not None:
            self._model.labels(*self._loaded).set(0)
        self._loaded = (name, version, precision, grid_sha256)
        self._model.labels(*self._loaded).set(1)

    def exposition(self) -> bytes:
        """Return all metrics in Prometheus' text format, those of all processes together."""
        if SHARED not in os.environ:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # it has no types
        return generate_latest(together)

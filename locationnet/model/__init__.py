"""Inference: bundles, preprocessing, runtime sessions and the locator; knows nothing of MXNet."""

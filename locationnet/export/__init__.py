"""A checkpoint to a bundle: converted, proven equal, calibrated, perhaps quantised."""

"""Networks that others trained, turned into bundles."""

"""Geometry on the sphere in NumPy; no files except ``grids.txt``, no images, no network."""

"""Predictions drawn on a world map; knows nothing of how they were made."""

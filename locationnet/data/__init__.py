"""Rows on disk: tables of photos, read in bounded memory.

Knows nothing of models or of the network's classes.
"""

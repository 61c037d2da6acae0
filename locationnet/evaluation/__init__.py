"""How good predictions are: metrics over arrays.

Knows nothing of how the predictions were made.
"""

"""Photos of a table fetched from a bucket or from their own addresses, many at a time.

Knows nothing of cells, classes or networks.
"""

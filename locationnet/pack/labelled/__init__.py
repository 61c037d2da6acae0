"""Other people's labelled photos, each layout read into the same table.

Knows nothing of pixels, servers or networks: what a table names is downloaded and packed elsewhere.
"""

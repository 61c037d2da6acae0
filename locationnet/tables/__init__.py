"""Tables of photos: which columns they have, and their rows, whole or chunk by chunk.

Every verb that reads a table reads it through here, so that all read the same files the same way.
"""

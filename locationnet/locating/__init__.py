"""Tables of photos located: paths, URLs or keys of a store in, the same rows with places out.

Knows nothing of the command line.
"""

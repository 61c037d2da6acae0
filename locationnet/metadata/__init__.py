"""Metadata of photos, above all that of YFCC100M and Multimedia Commons, to one table.

A row walks through once: `shards` → `lines` → `readers` → `rows` → `work` → `settle` → `finish`;
`build` is the way in. Knows nothing of pixels or of classes.
"""

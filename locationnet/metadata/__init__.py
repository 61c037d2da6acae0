"""Metadata of photos, above all that of YFCC100M and Multimedia Commons, to one table.

A row walks through once: `sources` → `lines` → `parse` → `records` → `pool` → `dedupe` →
`assemble`; `build_table` is the way in. Knows nothing of pixels or of classes.
"""

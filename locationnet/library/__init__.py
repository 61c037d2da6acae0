"""A person's own photos: what they say of themselves, and places for those that do not say where.

Nothing here leaves the machine.
"""

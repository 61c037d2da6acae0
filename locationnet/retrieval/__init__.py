"""Photos with known places as an index that others are located by."""

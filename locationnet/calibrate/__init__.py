"""How far a bundle's answers can be believed, measured on photos whose places are known."""

"""Learning where photos were taken: symbols, the training loop and the way to a bundle.

The only rooms that import mxnet; what they leave behind is read by `locationnet.model` from disk.
"""

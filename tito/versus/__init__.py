"""The yardstick: the same work done by this framework and by PyTorch, in turn, as a ratio with its interval.

works/NAME.py -> child (one contender in a fresh process) -> driver (rounds, ratios) -> table
"""

"""Nextbest: decides, for every customer, what to offer next, why, worth how much, and in which words."""

__version__ = "0.1.0"

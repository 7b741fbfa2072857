"""Engines: the only place where SQL runs."""

"""The use cases, one a file. CLI, Python and later the API call these; they are the only wiring."""

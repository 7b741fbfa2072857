"""Models of who takes what: one a file, found by its file's name or as an entry point of the group `nextbest.models`."""

"""The rule language: one scalar SQL expression, parsed into a tree and never pasted into a query."""

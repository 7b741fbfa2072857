"""The engine for one customer: DuckDB plans a stage once, and Python makes its few rows from the plan, again and again.

DuckDB sets up every operator and expression for two thousand rows at a time. For one customer that takes longer than all
the work: some 150 ms for the stages of a decision, where rows that are Python values take a tenth of it.
"""

"""Metrics as pure functions on arrays, one module per family, each metric registered with its facts.

Nothing is imported here: a stage that scores one family then depends on that family's code alone.
`camstudy.metrics.families` holds the registry with every family in it.
"""

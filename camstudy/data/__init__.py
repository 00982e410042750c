"""Datasets: one module per source, and the store that every source is prepared into."""

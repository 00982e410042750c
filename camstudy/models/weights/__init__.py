"""Weights from outside: fetched, read and fitted to a network."""

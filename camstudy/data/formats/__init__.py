"""Formats of files that images and their truth come in; sources say which are read."""

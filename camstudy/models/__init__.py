"""Models: built from catalogue entries, varied, folded, loaded, saved, and fed with images."""

"""What the rules ask of a study: identities, paths, parts and targets; no torch."""

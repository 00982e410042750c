"""What all else uses and what uses nothing: identity, code, files."""

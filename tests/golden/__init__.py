"""Golden results: what code computed when its revision began; ``make revisions`` compares with them."""

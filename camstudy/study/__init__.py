"""A study file, checked and completed: schema, defaults, checks, the reference that is made from them."""

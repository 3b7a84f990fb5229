"""Ways to a store elsewhere."""

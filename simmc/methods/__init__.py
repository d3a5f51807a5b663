"""Recipes: one training method a file, read from top to bottom as its paper's algorithm."""

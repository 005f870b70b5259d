"""Recipes: what may be written, what it means, and every error's place."""

"""Committed work as tables, decisions, shards; checked, counted and shown."""

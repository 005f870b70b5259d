"""Keeping and dropping, by what the tables say."""

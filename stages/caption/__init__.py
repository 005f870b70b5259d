"""Descriptions of what is seen."""

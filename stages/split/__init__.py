"""Cutting a timeline into segments."""

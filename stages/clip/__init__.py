"""Segments as media files."""

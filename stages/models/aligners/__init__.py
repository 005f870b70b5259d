"""Engines that put given words onto a stretch of sound, one per file."""

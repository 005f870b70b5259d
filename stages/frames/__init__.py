"""Frames: choosing them, and vectors of them."""

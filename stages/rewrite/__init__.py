"""Texts made from texts by a language model."""

"""Operators that turn annotations of one form into another."""

"""Media made here, with exact truth."""

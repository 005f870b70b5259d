"""The operators: pure work on records, grouped as a curator thinks of them. No Ray in here."""

"""Where media comes from: finding it, probing it, reading what its publisher says."""

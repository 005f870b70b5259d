"""Everything that loads weights or calls a teacher, behind small protocols."""

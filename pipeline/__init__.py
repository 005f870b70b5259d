"""The engine: recipes, planning, Ray, the store, packing, statistics, the command line."""

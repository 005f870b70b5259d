"""The engine: recipes, planning, Ray execution, the store, packing, statistics, the command line."""

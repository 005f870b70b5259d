"""Documents in which texts and pictures follow one another in time."""

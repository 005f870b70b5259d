"""Questions, answers and the time that proves them."""

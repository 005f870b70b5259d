"""What is said and what is written on screen."""

"""Where everything is written: atomic objects, one live run per output."""

"""Generated objects with part labels."""

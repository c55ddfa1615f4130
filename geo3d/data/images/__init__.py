"""Data sets of images of objects, for reconstruction."""

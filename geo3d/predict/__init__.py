"""Trained networks on the user's own files."""

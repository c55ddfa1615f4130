"""Metrics, equal to the official evaluators' on the same predictions."""

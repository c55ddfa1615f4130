"""Generated data, written in the formats of the real data sets."""

"""Bodies: poses and shapes of AMASS, scans of generated bodies, the evaluation archives of ArtEq."""

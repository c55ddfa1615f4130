"""What `geo3d view` opens: from paths to samples, and from samples to scenes."""

from geo3d.tools.viewing.samples import Options, Sample, Samples
from geo3d.tools.viewing.sources import open_paths

__all__ = ["Options", "Sample", "Samples", "open_paths"]

if __name__ != "geo3d.viz":
    raise ImportError(f"this package is geo3d.viz, not {__name__!r}; run `pip install -e .` and import geo3d")

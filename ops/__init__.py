if __name__ != "geo3d.ops":
    raise ImportError(f"this package is geo3d.ops, not {__name__!r}; run `pip install -e .` and import geo3d")

if __name__ != "geo3d.tools":
    raise ImportError(f"this package is geo3d.tools, not {__name__!r}; run `pip install -e .` and import geo3d")

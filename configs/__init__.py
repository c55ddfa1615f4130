if __name__ != "geo3d.configs":
    raise ImportError(f"this package is geo3d.configs, not {__name__!r}; run `pip install -e .` and import geo3d")

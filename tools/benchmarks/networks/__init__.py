"""A file for each model that `geo3d benchmark model` times: CONFIGS, the configurations, and `make_cases`."""

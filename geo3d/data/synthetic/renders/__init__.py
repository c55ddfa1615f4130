"""Generated LiDAR streets."""

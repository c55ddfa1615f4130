"""LiDAR sweeps and the data sets for 3D object detection."""

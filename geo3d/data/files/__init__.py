"""Readers of the files that users have: point clouds, meshes, voxels, pickled arrays."""

"""Generated objects in pictures, with their voxels."""

"""Data sets of single objects for classification and part segmentation."""

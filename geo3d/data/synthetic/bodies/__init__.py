"""Generated bodies: poses, scans of them, and files."""

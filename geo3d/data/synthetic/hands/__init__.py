"""Generated hands: model, poses, looks, pictures, and the folders that they are written in (FreiHAND's)."""

"""Networks written plainly, layer by layer, as the peers of ours."""

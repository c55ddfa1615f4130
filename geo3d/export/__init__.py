"""Networks as ONNX, and what runs them."""

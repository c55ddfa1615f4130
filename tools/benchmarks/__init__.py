"""What `geo3d benchmark` times: workloads of the ops beside their peers, and how."""

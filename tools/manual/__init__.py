"""What makes the manual's site out of `docs/`, the docstrings, the API description and the benchmark's results."""

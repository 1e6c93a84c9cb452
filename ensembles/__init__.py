"""The pure library behind Softvote: evaluation, fusion and statistics for image classifiers (boundary: README.md)."""

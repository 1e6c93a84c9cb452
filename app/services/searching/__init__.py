"""Asking kept posteriors which ensemble is best, and what any weighting gives."""

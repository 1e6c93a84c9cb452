"""Evaluating again on a schedule, and saying what changed since."""

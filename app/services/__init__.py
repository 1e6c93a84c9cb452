"""Writes: one function is one use case and one transaction.

On PostgreSQL every transaction locks rows in this order, which rules deadlocks out: prediction sets, prediction parts,
work items, evaluations, checkpoints and data sets, workers; several rows of one table in the order of their ids.
"""

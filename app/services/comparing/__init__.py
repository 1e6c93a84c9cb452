"""Which of several is better: paired comparisons and gates."""

"""Training by the paper's recipe (section 3.1): a run's choices, its images, its first weights, and its epochs."""

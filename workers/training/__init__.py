"""Training by the paper's recipe (section 3.1): what a run is, its images, its first weights, and the loop over epochs."""

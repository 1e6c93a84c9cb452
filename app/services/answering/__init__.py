"""How the images of an evaluation were answered."""

"""Things to run: the demo."""

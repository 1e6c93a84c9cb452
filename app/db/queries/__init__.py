"""Reads: every function takes a session and answers with documents of `app.representations`."""

"""Tables, sessions and reads. Writes live in app/services."""

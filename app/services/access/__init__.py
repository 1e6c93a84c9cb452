"""Who may come in: users, sessions, tokens, and the limits of trying."""

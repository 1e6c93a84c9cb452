"""Who asks, and what they may: passed by every request before a view of the API or of the pages runs."""

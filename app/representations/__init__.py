"""The JSON documents of the service, defined once: REST answers with them, the CLI prints them, pages render them."""

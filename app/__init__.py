"""The service: tables, use cases, REST, pages and commands. Importable without torch."""

"""The pages: server-rendered, live by polling fragments, readable without JavaScript."""

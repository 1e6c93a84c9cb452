"""The REST interface: blueprints under /api/v1, their errors, the OpenAPI document and the page to try it."""

"""Telling others what happened: webhooks, what each is told, and the deliveries."""

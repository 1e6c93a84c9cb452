"""The torch side of the service: Celery workers, the dispatcher and the sweeper."""

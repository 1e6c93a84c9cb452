"""What the property tests of the library share."""

from hypothesis import HealthCheck, settings

# Examples are timed by the wall clock, and a busy machine is no failure of the code.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

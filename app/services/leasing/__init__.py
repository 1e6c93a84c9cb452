"""Who works on what: leases, slices of images, and what vanished holders leave behind."""

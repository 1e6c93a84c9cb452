"""The command line `softvote`: a thin edge over the services, or over a server's REST interface."""

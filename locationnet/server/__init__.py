"""The HTTP service: `create_app` in ``app.py`` assembles it; knows nothing of the command line."""

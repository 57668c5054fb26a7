"""gunicorn, made ready: one configuration, a drain on SIGTERM, a worker that stops cleanly.

`app.serve()` is the way in. `config.py` turns Settings into gunicorn's settings, `drain.py` holds the page
that all processes of a replica share and what SIGTERM does, `worker.py` is the worker. Everything of gunicorn
that is not its public interface stands in `_gunicorn.py`. Only this package imports gunicorn.
"""

"""HTTP on one side, the data plane on the other: these modules translate and do nothing else."""

from pycrcnn.server.routes import exchange, health, jobs, keys, legacy, models, predict

__all__ = ["ROUTERS"]

ROUTERS = (
    models.router,
    keys.router,
    predict.router,
    jobs.router,
    health.router,
    legacy.router,
    exchange.router,
)

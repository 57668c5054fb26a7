"""For tests of services: several replicas in one process on one Redis, behind clients that act like browsers.

The pytest plugin that comes with the package hands them out as fixtures: `replicas`, `service_client`,
`fivenines_redis_url`, `fivenines_settings`.
"""

from fivenines.testing._browser import Browser
from fivenines.testing._lifespan import running
from fivenines.testing._replicas import ReplicaPool, service_settings

__all__ = ["Browser", "ReplicaPool", "running", "service_settings"]

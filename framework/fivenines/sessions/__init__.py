"""Sessions that every replica shares: `request.session`, `@authenticated`, `@csrf_exempt`.

Read `_policy.py` for the cookie and the cross-site rule, `_store.py` for what stands in Redis and what holds
there, `_session.py` for what a handler sees, `_replica.py` for how a request gets its session.
"""

from fivenines.sessions._decorator import authenticated, csrf_exempt, require_principal
from fivenines.sessions._replica import PendingSession, anonymous, begin
from fivenines.sessions._session import Session, finish

__all__ = [
    "PendingSession",
    "Session",
    "anonymous",
    "authenticated",
    "begin",
    "csrf_exempt",
    "finish",
    "require_principal",
]

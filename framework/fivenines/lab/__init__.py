"""Real servers for drills, `fivenines up` and tests: they start, they are hurt on purpose, and they end.

- `processes`  a supervised process: own log, readiness with a deadline, never left behind
- `redis`, `balancers`  what stands around a service
- `cluster`  Redis, replicas and a balancer as one thing to kill parts of
- `load`  a client that keeps a ledger of every request; `traffic` is what it sends
- `demo`  `make demo`: all of it at once
"""

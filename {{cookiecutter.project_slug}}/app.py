"""The service: its routes. `make run` starts it, `make up` starts three replicas of it behind a balancer."""

from fivenines import Service
from starlette.routing import Route

from {{ cookiecutter.project_slug }} import account, orders, prices
from {{ cookiecutter.project_slug }}.settings import Settings

settings = Settings.from_environment()

service = Service(
    name="{{ cookiecutter.project_slug }}",
    routes=[
        *account.demo_routes(settings),
        Route("/logout", account.logout, methods=["POST"]),
        Route("/logout/everywhere", account.logout_everywhere, methods=["POST"]),
        Route("/me", account.me),
        Route("/visits", account.count_visit, methods=["POST"]),
        Route("/orders", orders.create_order, methods=["POST"]),
        Route("/orders", orders.list_orders),
        Route("/orders/{id}", orders.read_order),
        Route("/prices/{item}", prices.read_price),
    ],
)

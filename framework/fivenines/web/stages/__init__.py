"""One plain ASGI class a file. Their order, with its reasons, stands in `fivenines.service`."""

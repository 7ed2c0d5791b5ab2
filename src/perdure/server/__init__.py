"""The S2 v1 API as an ASGI application over the store's service; `create_app` in `perdure.server.app` makes one."""

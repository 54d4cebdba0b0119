"""Routes for those who operate the service."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route

from qwen_ui.chat import ChatService
from qwen_ui.types import ModelState


def routes(service: ChatService) -> list[BaseRoute]:
    """`GET /health`: 200 while the page can answer, from the cache at least."""

    async def health(request: Request) -> JSONResponse:
        models = service.models()
        failed = all(model.state is ModelState.FAILED for model in models)
        return JSONResponse(
            {
                "status": "degraded" if failed else "ok",
                "models": {model.name: model.state.value for model in models},
            }
        )

    return [Route("/health", health)]

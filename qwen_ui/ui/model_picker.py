"""The model picker: what can be chosen, and how far the chosen one is."""

from __future__ import annotations

import gradio as gr

from qwen_ui.chat import ChatService
from qwen_ui.errors import QwenUIError
from qwen_ui.types import ModelInfo, ModelState
from qwen_ui.ui import parts
from qwen_ui.ui.i18n import texts_for
from qwen_ui.ui.parts import AT_ONCE

_LOOK_EVERY_S = 0.5


class ModelPicker:
    """A dropdown and a line beside it; the line is looked after only while a model loads.

    `demo_note` is not rendered here: the page puts it where it likes.
    """

    def __init__(self, service: ChatService, label: gr.I18n) -> None:
        self._service = service
        names = [info.name for info in service.models()]
        self.choice = gr.Dropdown(
            names,
            value=names[0],
            elem_id="model",
            label=label("app.model"),
            show_label=False,
            container=False,
            filterable=False,
            min_width=120,
        )
        self._line = gr.HTML(elem_id="model-line")
        self.demo_note = gr.HTML(elem_id="demo-note", render=False)
        self._timer = gr.Timer(_LOOK_EVERY_S)

    def connect(self) -> None:
        told = [self._line, self.demo_note, self._timer]
        self._timer.tick(self.look, self.choice, told, **AT_ONCE)
        self.choice.change(self.choose, self.choice, told, **AT_ONCE)

    def choose(self, model: str, request: gr.Request) -> tuple[str, str, gr.Timer]:
        """Begin to load; answers that run on the old model finish first."""
        try:
            self._service.warm(model)
        except QwenUIError as error:
            return parts.notice(texts_for(request).error(error)), "", gr.Timer(active=False)
        return self.look(model, request)

    def look(self, model: str, request: gr.Request) -> tuple[str, str, gr.Timer]:
        """How the model is now, and whether to look again soon."""
        info = self._info(model)
        say = texts_for(request)
        timer = gr.Timer(active=info.state is ModelState.LOADING)
        return parts.model_line(info, say), parts.demo_note(info, say), timer

    def _info(self, model: str) -> ModelInfo:
        infos = self._service.models()
        return next((info for info in infos if info.name == model), infos[0])

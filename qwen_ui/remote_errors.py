"""What can go wrong with another server's model, in the same manner as errors.

QwenUIError
├── BadRequest
│   ├── RemoteContextTooLong    413  error.remote_context  (its server counts, not we)
│   └── RemoteTooBig            413  error.remote_too_big
└── RemoteFailed                502  error.remote_failed   (the server behind a remote model)
    ├── RemoteDown              503  error.remote_down
    ├── RemoteBusy              503  error.remote_busy
    ├── RemoteSlow              504  error.remote_slow
    ├── RemoteCut               502  error.remote_cut      (in the middle of an answer)
    ├── RemoteRefused           502  error.remote_refused  (our key)
    ├── RemoteLacksModel        502  error.remote_lacks_model
    ├── RemoteChanged           502  error.remote_changed  (another model under the same name)
    └── RemoteFiltered          502  error.remote_filtered
"""

from __future__ import annotations

from qwen_ui.errors import BadRequest, QwenUIError


class RemoteContextTooLong(BadRequest):
    status, text_key = 413, "error.remote_context"

    def __init__(self) -> None:
        super().__init__(
            "The conversation and the room for its answer are more than the model reads."
            " Start a new one, or use fewer pictures."
        )


class RemoteTooBig(BadRequest):
    status, text_key = 413, "error.remote_too_big"

    def __init__(self) -> None:
        super().__init__(
            "The pictures are more than the model's server takes. Use fewer or smaller ones."
        )


class RemoteFailed(QwenUIError):
    """`sentence` is filled from the same `params` as the localised texts."""

    status, text_key = 502, "error.remote_failed"
    sentence = "The model's server failed: {reason}. Try again; its log may say more."

    def __init__(self, **params: str | int) -> None:
        super().__init__(self.sentence.format(**params), **params)


class RemoteDown(RemoteFailed):
    status, text_key = 503, "error.remote_down"
    sentence = "The server of {model} cannot be reached. Start it, or try again when it is back."


class RemoteBusy(RemoteFailed):
    status, text_key = 503, "error.remote_busy"
    sentence = "The model's server is busy. Try again in a minute."


class RemoteSlow(RemoteFailed):
    status, text_key = 504, "error.remote_slow"
    sentence = "The model's server was silent for {seconds} seconds. Try again, or ask for less."


class RemoteCut(RemoteFailed):
    text_key = "error.remote_cut"
    sentence = "The model's server broke off before the answer was whole. Ask again."


class RemoteRefused(RemoteFailed):
    text_key = "error.remote_refused"
    sentence = "The server of {model} refuses our key. Set QWEN_UI_REMOTE_KEYS and start again."


class RemoteLacksModel(RemoteFailed):
    text_key = "error.remote_lacks_model"
    sentence = "The server has no model {model}. Check its name, and that the address ends in /v1."


class RemoteChanged(RemoteFailed):
    text_key = "error.remote_changed"
    sentence = "The server has another build of {model} than before. Restart this program."


class RemoteFiltered(RemoteFailed):
    text_key = "error.remote_filtered"
    sentence = "The model's server withheld the answer. Ask in other words."

"""The errors a person may see. Each has an HTTP status and the key of its text in ui/locales.

QwenUIError                     500  error.internal
├── BadRequest                  400  error.bad_request
│   ├── EmptyQuestion           400  error.empty_question
│   ├── QuestionTooLong         413  error.question_too_long
│   ├── TooManyPictures         413  error.too_many_pictures
│   ├── BadPicture              415  error.bad_picture
│   ├── FileTooBig              413  error.file_too_big
│   ├── PictureTooBig           413  error.picture_too_big
│   ├── PictureVast             413  error.picture_vast    (so large that no size is told)
│   ├── PictureNarrow           400  error.picture_narrow
│   ├── PictureGone             410  error.picture_gone    (or a video)
│   ├── VideoRefused            415  drawn in video_errors
│   ├── ContextTooLong          413  error.context_too_long
│   ├── RemoteContextTooLong    413  drawn in remote_errors
│   └── RemoteTooBig            413  drawn in remote_errors
├── UnknownModel                404  error.unknown_model
├── NotCached                   504  error.not_cached      (only-if-cached, RFC 9111 5.2.1.7)
├── StoreFailed                 503  error.store_failed    (a store could not be emptied)
├── EngineBusy                  503  error.engine_busy
├── WaitedTooLong               503  error.waited_too_long (in a model's queue)
├── ModelFailed                 503  error.model_failed    (a model cannot be loaded)
├── ShuttingDown                503  error.shutting_down
├── OutOfMemory                 507  error.out_of_memory
├── GenerationFailed            500  error.generation_failed
└── RemoteFailed                502  drawn in remote_errors
"""

from __future__ import annotations


class QwenUIError(Exception):
    """Base. `str(error)` is one clear English sentence; `params` fill the localised text."""

    status = 500
    text_key = "error.internal"

    def __init__(self, message: str, **params: str | int) -> None:
        super().__init__(message)
        self.params = params


class BadRequest(QwenUIError):
    status, text_key = 400, "error.bad_request"


class EmptyQuestion(BadRequest):
    text_key = "error.empty_question"

    def __init__(self) -> None:
        super().__init__("Type a question, then send it.")


class QuestionTooLong(BadRequest):
    status, text_key = 413, "error.question_too_long"

    def __init__(self, chars: int, limit: int) -> None:
        super().__init__(
            f"The question has {chars} characters; at most {limit} are read. Shorten it.",
            chars=chars,
            limit=limit,
        )


class TooManyPictures(BadRequest):
    status, text_key = 413, "error.too_many_pictures"

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} pictures and videos go into one question.", limit=limit)


class BadPicture(BadRequest):
    status, text_key = 415, "error.bad_picture"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} cannot be read as a picture. Save it as JPEG or PNG and try again.", name=name
        )


class FileTooBig(BadRequest):
    """More bytes than the limit; both in MB."""

    status, text_key = 413, "error.file_too_big"

    def __init__(self, name: str, size: str, limit: str) -> None:
        super().__init__(
            f"{name} is too big ({size} MB; the limit is {limit} MB). Scale it down and try again.",
            name=name,
            size=size,
            limit=limit,
        )


class PictureTooBig(BadRequest):
    """More pixels than the limit, which is in megapixels."""

    status, text_key = 413, "error.picture_too_big"

    def __init__(self, name: str, width: int, height: int, limit: int) -> None:
        super().__init__(
            f"{name} is too big ({width} x {height} pixels; the limit is {limit} megapixels)."
            " Scale it down and try again.",
            name=name,
            width=width,
            height=height,
            limit=limit,
        )


class PictureVast(BadRequest):
    status, text_key = 413, "error.picture_vast"

    def __init__(self, name: str, limit: int) -> None:
        super().__init__(
            f"{name} is far too big (the limit is {limit} megapixels)."
            " Scale it down and try again.",
            name=name,
            limit=limit,
        )


class PictureNarrow(BadRequest):
    text_key = "error.picture_narrow"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} is too narrow: no side may be more than 200 times the other. Crop it.",
            name=name,
        )


class PictureGone(BadRequest):
    status, text_key = 410, "error.picture_gone"

    def __init__(self) -> None:
        super().__init__(
            "A picture or video of this conversation is no longer kept. Attach it again."
        )


class ContextTooLong(BadRequest):
    status, text_key = 413, "error.context_too_long"

    def __init__(self, tokens: int, limit: int) -> None:
        super().__init__(
            f"The conversation has {tokens} tokens; the model reads {limit}. Start a new one.",
            tokens=tokens,
            limit=limit,
        )


class UnknownModel(QwenUIError):
    status, text_key = 404, "error.unknown_model"

    def __init__(self, model: str) -> None:
        super().__init__(
            f"There is no model named {model} here. Choose one of the list.", model=model
        )


class NotCached(QwenUIError):
    status, text_key = 504, "error.not_cached"

    def __init__(self) -> None:
        super().__init__("No stored answer, and only a stored one was asked for.")


class StoreFailed(QwenUIError):
    status, text_key = 503, "error.store_failed"

    def __init__(self) -> None:
        super().__init__(
            "A store of answers cannot be reached, so it may still hold some. Try again later."
        )


class EngineBusy(QwenUIError):
    status, text_key = 503, "error.engine_busy"

    def __init__(self, waiting: int) -> None:
        super().__init__(
            f"The model is busy: {waiting} questions are waiting. Try again in a minute.",
            waiting=waiting,
        )


class WaitedTooLong(QwenUIError):
    status, text_key = 503, "error.waited_too_long"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"The model had no time for the question within {seconds} seconds, so it was "
            "withdrawn. Ask it again in a minute.",
            seconds=seconds,
        )


class ModelFailed(QwenUIError):
    status, text_key = 503, "error.model_failed"

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"The model {model} cannot be loaded: {reason}", model=model, reason=reason
        )


class ShuttingDown(QwenUIError):
    status, text_key = 503, "error.shutting_down"

    def __init__(self) -> None:
        super().__init__("The server is shutting down. Ask again when it is back.")


class OutOfMemory(QwenUIError):
    status, text_key = 507, "error.out_of_memory"

    def __init__(self) -> None:
        super().__init__(
            "The model ran out of memory. Use fewer or smaller pictures, or start a new chat."
        )


class GenerationFailed(QwenUIError):
    status, text_key = 500, "error.generation_failed"

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model failed while answering: {reason}", reason=reason)


def without_frames(error: QwenUIError) -> QwenUIError:
    """One that will be kept: the frames that it came through hold tensors of gigabytes."""
    one: BaseException | None = error
    while one is not None:
        one.__traceback__, one = None, one.__cause__ or one.__context__
    return error

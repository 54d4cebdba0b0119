"""`transformers serve` with one local model: `python serve_demo.py FOLDER PORT`.

Its own way to a processor needs torchvision; ours gives the same processor without.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import transformers
from transformers.cli.serve import Serve

from qwen_ui.engines.processor import load_processor


def _processor(folder: str, **_: Any) -> Any:
    return load_processor(Path(folder))


if __name__ == "__main__":
    transformers.AutoProcessor.from_pretrained = _processor
    Serve(force_model=sys.argv[1], host="127.0.0.1", port=int(sys.argv[2]), device="cpu")

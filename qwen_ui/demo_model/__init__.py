"""The embedded demo model: a genuine small Qwen3-VL that knows drawn shapes and numbers."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
VARIANTS = {"demo": WEIGHTS / "demo", "demo-thinking": WEIGHTS / "demo-thinking"}

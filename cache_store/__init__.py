"""An answer cache for vision-language models: exact by construction, proved by comparison."""

# docker build -t qwen-ui . && docker run --rm -p 7860:7860 -v qwen-ui:/data qwen-ui
# With a GPU: docker run --gpus all ...; settings: -e QWEN_UI_MODEL=Qwen/Qwen3-VL-8B-Instruct
# On x86-64, torch comes with CUDA: 5.7 GB in all. Where that is too much:
# docker build --build-arg PIP_EXTRA_INDEX_URL=(PyTorch's package index of CPU builds) ...
FROM python:3.12-slim

RUN useradd --uid 1000 --create-home user \
    && install -d -o user -g user -m 700 /data
WORKDIR /app

# The dependencies change seldom, the code often: two layers.
COPY requirements.txt constraints.txt ./
ARG PIP_EXTRA_INDEX_URL
RUN pip install --no-cache-dir -r requirements.txt -c constraints.txt
COPY app.py ./
COPY cache_store cache_store
COPY qwen_ui qwen_ui

USER user
ENV QWEN_UI_HOST=0.0.0.0 \
    QWEN_UI_PORT=7860 \
    QWEN_UI_CACHE_DIR=/data/cache \
    HF_HOME=/data/huggingface \
    PYTHONUNBUFFERED=1
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$QWEN_UI_PORT/health', timeout=3)"
CMD ["python", "app.py"]

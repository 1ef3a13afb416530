"""The loop that users of pero-ocr write by hand (as in pero-ocr's parse_folder): PageParser over a list of images.

    python benchmarks/bare_loop.py MODEL_DIR OUT_DIR PROCESSES THREADS IMAGE...

The only fix is the one without which pages are lost under shapely 2. THREADS 0 leaves torch's default.
"""

from __future__ import annotations

import configparser
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

_parser: Any = None


def load(model: Path, threads: int) -> None:
    global _parser  # noqa: PLW0603 - an initializer has no other way to hand something to its process
    import shapely.geometry  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from pero_ocr.document_ocr.page_parser import PageParser  # noqa: PLC0415

    shapely.geometry.MultiPolygon.__iter__ = lambda self: iter(self.geoms)
    if threads:
        torch.set_num_threads(threads)
    config = configparser.ConfigParser()
    config.read(model / "config.ini")
    _parser = PageParser(config, config_path=str(model), device=torch.device("cpu"))


def process(image_path: Path, out: Path) -> None:
    import cv2  # noqa: PLC0415
    from pero_ocr.core.layout import PageLayout  # noqa: PLC0415

    image = cv2.imread(str(image_path), 1)
    layout = PageLayout(id=image_path.name, page_size=image.shape[:2])
    layout = _parser.process_page(image, layout)
    layout.to_pagexml(str(out / f"{image_path.stem}.page.xml"))
    layout.to_altoxml(str(out / f"{image_path.stem}.alto.xml"))


def main() -> None:
    model, out = Path(sys.argv[1]), Path(sys.argv[2])
    processes, threads = int(sys.argv[3]), int(sys.argv[4])
    images = [Path(name) for name in sys.argv[5:]]
    out.mkdir(parents=True, exist_ok=True)
    if processes == 1:
        load(model, threads)
        for image in images:
            process(image, out)
        return
    with ProcessPoolExecutor(processes, get_context("spawn"), load, (model, threads)) as pool:
        list(pool.map(process, images, [out] * len(images)))


if __name__ == "__main__":
    main()

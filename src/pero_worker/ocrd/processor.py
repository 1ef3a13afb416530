"""The OCR-D processor: takes pages of a workspace and writes PAGE with text."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
import numpy as np
from ocrd import OcrdPageResult, Processor
from ocrd.decorators import ocrd_cli_options, ocrd_cli_wrap_processor
from ocrd_models.ocrd_page import OcrdPage, parseString
from ocrd_utils import polygon_from_points

from pero_worker.errors import PageError, PeroWorkerError
from pero_worker.formats import pagexml
from pero_worker.formats.confined import confine
from pero_worker.models.pipelines import bundled_pipelines
from pero_worker.ocrd.frame import onto_page
from pero_worker.ocrd.recognise import LocalRecogniser, Recogniser, at_gateway, on_cluster
from pero_worker.page import Page

NAME = "ocrd-pero-worker"


class PeroWorkerProcessor(Processor):
    """Finds regions and lines on a page, and reads them. Text regions in the input are replaced."""

    max_workers = 1  # A model fills a GPU or uses all cores.
    _recogniser: Recogniser | None = None

    @property
    def metadata_filename(self) -> str:
        return "ocrd/ocrd-tool.json"

    @property
    def executable(self) -> str:
        return NAME

    def setup(self) -> None:
        """Loads the models, or connects to the cluster or gateway."""
        wanted = self.parameter
        if wanted["cluster"]:
            stages = [name.strip() for name in wanted["stages"].split(",") if name.strip()]
            if not stages:
                raise ValueError("the parameter 'cluster' needs 'stages': which of its stages a page goes through")
            self._recogniser = on_cluster(wanted["cluster"], stages)
            return
        if wanted["gateway"]:
            self._recogniser = at_gateway(wanted["gateway"], wanted["engine"])
            return
        pipeline = wanted["pipeline"]
        if pipeline not in {known.name for known in bundled_pipelines()}:
            pipeline = self.resolve_resource(pipeline)
        self._recogniser = LocalRecogniser(pipeline, wanted["device"])

    def shutdown(self) -> None:
        if self._recogniser is not None:
            self._recogniser.close()
            self._recogniser = None

    def process_page_pcgts(self, *input_pcgts: OcrdPage | None, page_id: str | None = None) -> OcrdPageResult:
        """Returns the page with its text, in the frame of its original image."""
        pcgts = input_pcgts[0]
        if pcgts is None or self._recogniser is None:
            raise ValueError("there is no page to read")
        page = pcgts.get_Page()
        # Pero reads grey and colour better; cropped and deskewed images are taken as they are.
        image, coords, _ = self.workspace.image_from_page(page, page_id, feature_filter="binarized")
        pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[:, :, ::-1])
        try:
            found = self._recogniser.read(page.get_imageFilename() or str(page_id), pixels)
        except PageError as error:
            self.logger.error("page %s: %s", page_id, error)
            raise
        size = page.get_imageWidth(), page.get_imageHeight()
        border = page.get_Border()
        outline = tuple(map(tuple, polygon_from_points(border.get_Coords().points))) if border else ()
        placed = confine(onto_page(found, coords["transform"], *size), within=outline)
        _take_over(page, placed, self.version)
        return OcrdPageResult(pcgts)


def _take_over(page: Any, found: Page, version: str) -> None:
    """Replaces the text regions of `page` with those of `found`."""
    kept = {region.id for region in page.get_AllRegions() if region.original_tagname_ != "TextRegion"}
    regions = tuple(
        replace(region, id=f"pero_{region.id}") if region.id in kept else region for region in found.regions
    )
    creator = f"{NAME} {version}"
    written = pagexml.write(replace(found, regions=regions), created=datetime.now(UTC), creator=creator)
    made = parseString(written, silence=True).get_Page()
    page.set_TextRegion(made.get_TextRegion())
    page.set_ReadingOrder(made.get_ReadingOrder())


@click.command()
@ocrd_cli_options
def main(*arguments: Any, **options: Any) -> Any:
    try:
        return ocrd_cli_wrap_processor(PeroWorkerProcessor, *arguments, **options)
    except PeroWorkerError as error:
        raise click.ClickException(str(error)) from error

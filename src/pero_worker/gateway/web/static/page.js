// A page: the scan in a viewer, each line's outline on it, and the text beside it; who chooses one sees the other.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const place = document.getElementById("viewer");
  if (!place || !window.OpenSeadragon) return;
  const levels = JSON.parse(place.dataset.levels);
  const width = Number(place.dataset.width), height = Number(place.dataset.height);
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  // It would write a style into the page, which our policy forbids, unless it finds one: app.css says the same.
  const stands = document.createElementNS("urn:stands-for", "style");
  stands.setAttribute("data-openseadragon-mobile-css", "");
  document.head.append(stands);
  const viewer = OpenSeadragon({
    element: place,
    tileSources: { type: "legacy-image-pyramid", levels },
    showNavigationControl: false,
    drawer: "canvas",
    gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
    gestureSettingsTouch: { clickToZoom: false },
    animationTime: calm ? 0 : 0.5,
    maxZoomPixelRatio: 3,
    tileRetryMax: 5,
    tileRetryDelay: 2500,
    timeout: 120000,
    visibilityRatio: 0.5,
  });
  viewer.canvas.setAttribute("aria-label", place.dataset.label);
  viewer.canvas.setAttribute("role", "application");

  // -- outlines -----------------------------------------------------------------------------------------------------

  const NS = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(NS, "svg"), group = document.createElementNS(NS, "g");
  svg.setAttribute("class", "outlines");
  svg.setAttribute("aria-hidden", "true");
  svg.append(group);
  viewer.canvas.append(svg);
  const lines = [...document.querySelectorAll("#lines button[data-points]")].map(button => {
    const points = button.dataset.points.split(" ").filter(Boolean).map(pair => pair.split(",").map(Number));
    const polygon = document.createElementNS(NS, "polygon");
    polygon.setAttribute("points", button.dataset.points);
    polygon.setAttribute("class", button.dataset.grade);
    group.append(polygon);
    return { button, points, polygon };
  });
  const follow = () => {
    if (!viewer.world.getItemCount()) return;
    const viewport = viewer.viewport;
    const zero = viewport.pixelFromPoint(new OpenSeadragon.Point(0, 0), true);
    const one = viewport.pixelFromPoint(new OpenSeadragon.Point(1, 0), true);
    const scale = (one.x - zero.x) / width;
    group.setAttribute("transform", `translate(${zero.x},${zero.y}) scale(${scale})`);
  };
  for (const event of ["open", "update-viewport", "resize", "animation"]) viewer.addHandler(event, follow);
  const note = document.getElementById("viewer-note");
  viewer.addHandler("tile-drawn", () => note.classList.add("hidden"));
  for (const event of ["open-failed", "tile-load-failed"])
    viewer.addHandler(event, () => { note.textContent = note.dataset.failed; note.classList.remove("hidden"); });
  viewer.addHandler("open", () => { place.dataset.ready = "yes"; fromHash(); });

  // -- choosing -----------------------------------------------------------------------------------------------------

  let chosen = null;
  const choose = (line, { show = false, scroll = false } = {}) => {
    if (chosen) {
      chosen.polygon.classList.remove("chosen");
      chosen.button.removeAttribute("aria-current");
    }
    chosen = line;
    if (!line) return;
    line.polygon.classList.add("chosen");
    group.append(line.polygon);
    line.button.setAttribute("aria-current", "true");
    history.replaceState(null, "", `#${line.button.id}`);
    if (scroll) line.button.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
    if (show && line.points.length) {
      const xs = line.points.map(point => point[0]), ys = line.points.map(point => point[1]);
      const left = Math.min(...xs), top = Math.min(...ys), wide = Math.max(...xs) - left, high = Math.max(...ys) - top;
      const margin = Math.max(high, wide * 0.05);
      viewer.viewport.fitBounds(new OpenSeadragon.Rect(
        (left - margin) / width, (top - 2 * margin) / width, (wide + 2 * margin) / width, (high + 4 * margin) / width,
      ), calm);
    }
  };
  const inside = (points, x, y) => {
    let found = false;
    for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
      const [xi, yi] = points[i], [xj, yj] = points[j];
      if ((yi > y) !== (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) found = !found;
    }
    return found;
  };
  for (const line of lines) line.button.addEventListener("click", () => choose(line, { show: true }));
  document.getElementById("lines").addEventListener("keydown", event => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const here = lines.findIndex(line => line.button === document.activeElement);
    const next = step && here >= 0 ? lines[here + step] : null;
    if (!next) return;
    event.preventDefault();
    next.button.focus();
    choose(next, { show: true });
  });
  viewer.addHandler("canvas-click", event => {
    if (!event.quick) return;
    const at = viewer.viewport.pointFromPixel(event.position);
    const line = lines.find(one => inside(one.points, at.x * width, at.y * width));
    if (line) choose(line, { scroll: true });
  });
  const fromHash = () => {
    const line = lines.find(one => `#${one.button.id}` === location.hash);
    if (line) choose(line, { show: true, scroll: true });
  };

  // -- tools --------------------------------------------------------------------------------------------------------

  for (const button of document.querySelectorAll("[data-zoom]"))
    button.addEventListener("click", () => {
      const viewport = viewer.viewport;
      if (button.dataset.zoom === "home") viewport.goHome(calm);
      else if (button.dataset.zoom === "lines")
        button.setAttribute("aria-pressed", String(!svg.classList.toggle("hidden")));
      else {
        viewport.zoomBy(button.dataset.zoom === "in" ? 1.6 : 1 / 1.6, null, calm);
        viewport.applyConstraints(calm);
      }
    });
});

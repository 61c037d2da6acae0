// Draws an answer on a world map: land, cells, circles, markers, legend. Knows nothing of the page
// around it, and asks the network for nothing.
"use strict";

const LocationMap = (() => {
  const { COLOURS, colourSteps, liftStrengths, probabilityStrengths } = CellShades;
  const { circle, greatCircle, nearestTurn } = Arcs;
  const OPACITIES = 12; // cells are drawn together where they differ by less
  const AT_SEA = 0.75; // so much of a cell is hidden there
  const [DOTTED_SHADE, FAINT] = [2, 0.4]; // from here on a cell too small or faint to be seen is a dot
  const [DOT_PIXELS, BADGE_PIXELS] = [5, 24];
  const TELLING_KM = 2000; // a larger circle says nothing
  const WORLD = [[-60, -180], [78, 180]]; // where there are photos to speak of
  const DEEPEST_PLACE_ZOOM = 10; // beyond it a 1:50m coastline says nothing
  const WORLDS = [-360, 0, 360]; // drawn side by side, so that ±180° is a place like any other

  const shifted = (points, by) => points.map(([lat, lng]) => [lat, lng + by]);
  const inAllWorlds = (points) => WORLDS.map((by) => shifted(points, by));

  // land.json: whole steps, each point but the first as the change from the one before.
  function decode(flat, steps) {
    const points = [];
    let lng = 0;
    let lat = 0;
    for (let i = 0; i < flat.length; i += 2) {
      lng += flat[i];
      lat += flat[i + 1];
      points.push([lat / steps, lng / steps]);
    }
    return points;
  }

  // A ring's edges, without those along ±180° and the pole, where land was cut and has no coast.
  function coastLines(ring) {
    const lines = [];
    let line = [];
    ring.concat([ring[0]]).forEach((point, i, closed) => {
      const before = closed[i - 1];
      const cut = before && ((Math.abs(point[1]) === 180 && Math.abs(before[1]) === 180)
        || (point[0] === -90 || before[0] === -90));
      if (cut) {
        lines.push(line);
        line = [];
      }
      line.push(point);
    });
    lines.push(line);
    return lines.filter((points) => points.length > 1);
  }

  // What the list and the pins name: cities, else the cells of a coarse answer or of a prior.
  function ranked({ cities, predictions }) {
    if (!cities || !cities.length) return predictions;
    return cities.map((city, i) => {
      const cell = predictions.find(({ lat, lng }) => lat === city.lat && lng === city.lng);
      return { ...city, rank: i + 1, place: city.name, cell: cell && cell.cell, level: cell && cell.level };
    });
  }

  const middleOf = (ring) => [0, 1].map((k) =>
    ring.reduce((sum, point) => sum + point[k], 0) / ring.length);

  // Stripes to fill an area with that the colours below must show through.
  function stripes(colour) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const paint = tile.getContext("2d");
    paint.strokeStyle = colour;
    paint.lineWidth = 1;
    for (const by of [-8, 0, 8]) {
      paint.moveTo(by, 8);
      paint.lineTo(by + 8, 0);
    }
    paint.stroke();
    return paint.createPattern(tile, "repeat");
  }

  // Better ranks lie on top; Leaflet adds the height on the screen in pixels.
  const depth = (rank) => 100 * (101 - rank);

  function element(tag, className, text) {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // Where the n-th photo of a place goes, pixels: six around the first, twelve around these, …
  function beside(n) {
    let ring = 1;
    let left = n - 1;
    while (left >= 6 * ring) {
      left -= 6 * ring;
      ring += 1;
    }
    const turn = (2 * Math.PI * left) / (6 * ring);
    return `${Math.round(34 * ring * Math.cos(turn))}px ${Math.round(34 * ring * Math.sin(turn))}px`;
  }

  const calm = () => window.matchMedia("(prefers-reduced-motion: reduce)").matches;

  return class LocationMap {
    // `land` is the content of land.json, or null until `drawLand`; `onPlace` is called with the rank of a clicked marker.
    constructor(container, land, onPlace) {
      this.container = container;
      this.onPlace = onPlace;
      this.grid = null;
      this.guess = null;
      this.middle = 0; // the longitude around which the world is drawn
      this.map = L.map(container, {
        zoomSnap: 0.25, zoomDelta: 1, minZoom: 0, maxZoom: 14, wheelPxPerZoomLevel: 90,
        maxBoundsViscosity: 0.8, attributionControl: false, zoomControl: false,
        fadeAnimation: false, zoomAnimation: !calm(), markerZoomAnimation: !calm(),
      });
      // Leaflet's own rounds to whole pixels: lines of many points would tremble.
      this.map.latLngToLayerPoint = (latlng) =>
        this.map.project(L.latLng(latlng)).subtract(this.map.getPixelOrigin());
      L.control.zoom({ position: "topright" }).addTo(this.map);
      L.control.scale({ position: "bottomright", imperial: false }).addTo(this.map);
      this.renderers = {};
      [["land", 210], ["cells", 220], ["veil", 222], ["area", 223], ["grid", 225], ["lines", 230], ["names", 590]].forEach(([name, z]) => {
        this.map.createPane(name).style.zIndex = z;
        if (name !== "names") this.renderers[name] = L.canvas({ pane: name, padding: 0.3 });
      });
      this.map.setView([20, 0], 1);
      this.by = "lift";
      this.overlays = L.layerGroup().addTo(this.map);
      this.guessed = L.layerGroup().addTo(this.map);
      this.coloured = L.layerGroup().addTo(this.map);
      this.dots = L.layerGroup().addTo(this.map);
      this.places = new Map();
      this.photos = [];
      this.raised = [];
      this.shown = null;
      this._addLegend();
      this.base = L.layerGroup().addTo(this.map);
      this.names = [];
      if (land) this.drawLand(land);
      this.map.on("zoomend", () => {
        this._updateNames();
        this._drawDots();
        this._spreadPins();
      });
      window.matchMedia("(prefers-color-scheme: dark)")
        .addEventListener("change", () => this._recolour());
    }

    // Show an answer in the form of POST /locate. `cells` is [{rings: [[[lng, lat], …], …], cell,
    // probability, lift}, …]; `area` the rings of where half of the probability lies; `truth` is
    // {lat, lng} or null. `beside` is the map beside which this one shows what the model says without
    // a photo: by probability, around the same longitude.
    show(answer, cells, { area = [], truth = null, beside = null } = {}) {
      this.clear();
      this.shown = { answer, cells, truth, beside };
      const [first] = answer.predictions;
      this.isLocal = !answer.abstained && !beside
        && (answer.located || answer.mode_radius_km["50"] < TELLING_KM);
      this.middle = beside ? beside.middle : this.isLocal ? first.lng : 0;
      this.legend.hidden = false;
      this.legend.classList.toggle("without-truth", !truth);
      this.map.setMaxBounds(null); // until `fit` has moved: they would pull the old view along
      this._drawCells();
      const isTelling = !answer.abstained && !beside;
      const radii = isTelling ? answer.mode_radius_km : {};
      this._drawCircle(first, radii["90"], "5 7");
      this._drawCircle(first, radii["50"], null);
      const isWide = isTelling && radii["50"] >= TELLING_KM;
      if (isWide) this._drawArea(area);
      this.legend.classList.toggle("without-area", !isWide || !area.length);
      this.legend.classList.toggle("without-half", !(radii["50"] < TELLING_KM));
      this.legend.classList.toggle("without-most", !(radii["90"] < TELLING_KM));
      if (truth) {
        this._path(L.polyline, inAllWorlds(greatCircle(answer.best, truth)), "--truth",
          { weight: 2.5, dashArray: "1 6", lineCap: "round" });
        this._marker(truth, element("span", "pin pin-truth"), "True place", 15000);
        this._marker(answer.best, element("span", "pin pin-best"), "Best point for the score", -1000);
      }
      if (!answer.abstained) this._drawPlaces(ranked(answer));
      this._updateNames();
      this._drawGuess();
    }

    _drawPlaces(places) {
      const outlines = new Map(this.shown.cells.map(({ cell, rings }) => [cell, rings]));
      places.forEach(({ cell }) => (outlines.get(cell) || []).forEach((ring) => this._path(
        L.polygon, inAllWorlds(ring.map(([lng, lat]) => [lat, lng])).map((one) => [one]), "--pin",
        { weight: 1.3 })));
      [...places].reverse().forEach((place) => {
        const label = `${place.rank}. ${place.place || `Cell ${place.cell}`}`;
        // The number stands beside its place: what is below stays to be seen.
        const content = element("span", "spot");
        content.append(element("span", "spot-line"), element("span", "pin-rank badge-rank", place.rank));
        const marker = this._marker(place, content, label, depth(place.rank), this.overlays, true);
        marker.on("click", () => this.onPlace(place.rank));
        marker.on("keydown", ({ originalEvent: event }) => { // Leaflet makes it a button by name only
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          this.onPlace(place.rank);
        });
        this.places.set(place.rank, { marker, place, content });
      });
      this._spreadPins();
    }

    // Put the numbers beside their places so that none hides another, best rank first.
    _spreadPins() {
      const sorted = [...this.places.values()].sort((a, b) => a.place.rank - b.place.rank);
      const spots = sorted.map(({ marker }) => this.map.latLngToLayerPoint(marker.getLatLng()));
      const taken = [...spots];
      sorted.forEach(({ content }, i) => {
        const free = [1, 1.8, 2.6].flatMap((far) => Array.from({ length: 12 }, (_, turn) => {
          const angle = ((30 * turn + 30) * Math.PI) / 180;
          return spots[i].add([far * BADGE_PIXELS * Math.sin(angle), -far * BADGE_PIXELS * Math.cos(angle)]);
        })).find((at) => taken.every((other) => other === spots[i] || at.distanceTo(other) >= BADGE_PIXELS - 2))
          || spots[i].add([BADGE_PIXELS, 0]);
        taken.push(free);
        const away = free.subtract(spots[i]);
        content.style.setProperty("--dx", `${away.x}px`);
        content.style.setProperty("--dy", `${away.y}px`);
        content.style.setProperty("--length", `${Math.hypot(away.x, away.y)}px`);
        content.style.setProperty("--turn", `${Math.atan2(away.y, away.x)}rad`);
      });
    }

    // Show no answer.
    clear() {
      this.shown = null;
      this.photos = [];
      [this.overlays, this.coloured, this.dots].forEach((group) => group.clearLayers());
      this.raised = [];
      this.places.clear();
      this.legend.hidden = true;
      this._drawGuess();
    }

    // Show many photos at once: [{lat, lng, label, text, className, image}, …]; `onPhoto` is called
    // with the number of one that is picked. `image`, a data URL, takes the place of the text.
    showPhotos(photos, onPhoto) {
      this.clear();
      this.photos = photos;
      const here = new Map();
      photos.forEach((photo, i) => {
        const content = element("span", `pin pin-rank ${photo.className}`, photo.text);
        if (photo.image) {
          const image = element("img");
          image.src = photo.image;
          image.alt = "";
          content.replaceChildren(image);
          content.classList.add("pin-photo");
        }
        // Photos at one place lie side by side around it.
        const spot = `${photo.lat} ${photo.lng}`;
        const before = here.get(spot) || 0;
        here.set(spot, before + 1);
        if (before) content.style.translate = beside(before);
        const marker = this._marker(photo, content, photo.label, depth(i + 1), this.overlays, true);
        marker.on("click", () => onPhoto(i));
        marker.on("keydown", ({ originalEvent: event }) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          onPhoto(i);
        });
      });
    }

    // Outline a box that somebody drew (bounds of Leaflet), or none.
    showBox(bounds) {
      if (this.box) this.box.remove();
      this.box = bounds && L.rectangle(bounds, { interactive: false, fill: false, weight: 2.5,
        dashArray: "6 4", color: this._colour("--chosen") }).addTo(this.map);
    }

    // Fill the container, whose size has changed.
    resized() {
      this.map.invalidateSize({ animate: false });
    }

    static ranked(answer) {
      return ranked(answer);
    }

    // Show where somebody thinks that the photo was taken: {lat, lng}, or null.
    showGuess(guess) {
      this.guess = guess;
      this._drawGuess();
    }

    // What can be seen and half as much around it, as {zoom, bbox: "west,south,east,north"}; the
    // same as `known` while nothing beyond that comes into sight.
    view(known) {
      const zoom = Math.round(this.map.getZoom());
      const seen = this.map.getBounds();
      if (known && known.zoom === zoom && known.bounds.contains(seen)) return known;
      const bounds = seen.pad(0.5);
      const within = (lng) => ((((lng + 180) % 360) + 360) % 360) - 180;
      const [west, east] = bounds.getEast() - bounds.getWest() >= 360 ? [-180, 180]
        : [within(bounds.getWest()), within(bounds.getEast())];
      const [south, north] = [Math.max(-90, bounds.getSouth()), Math.min(90, bounds.getNorth())];
      const bbox = [west, south, east, north].map((degrees) => degrees.toFixed(4)).join();
      return { zoom, bounds, bbox };
    }

    // Call a function whenever another part of the world is in sight.
    onMove(callback) {
      this.map.on("moveend", callback);
    }

    // Show the outlines of cells of a grid: [ring, …] of [lng, lat]; null takes them away.
    showGrid(rings) {
      if (this.grid) this.grid.remove();
      this.grid = null;
      if (!rings) return;
      this.grid = L.layerGroup().addTo(this.map);
      // A layer for each part of the world: one for each cell would take seconds to draw, and one
      // for all would draw what nobody sees.
      const parts = new Map();
      rings.forEach((ring) => {
        const part = ring[0].map((degrees) => Math.floor(degrees / 15)).join();
        if (!parts.has(part)) parts.set(part, []);
        parts.get(part).push(ring.map(([lng, lat]) => [lat, lng]));
      });
      WORLDS.forEach((by) => parts.forEach((part) => this._path(
        L.polyline, part.map((ring) => shifted(ring, by)), "--grid",
        { weight: 0.6, smoothFactor: 0.5 }, this.grid, "grid")));
    }

    // Draw tiles of a server over the land, which stays below where they do not come.
    addTiles(url, attribution) {
      this.map.createPane("tiles").style.zIndex = 215;
      L.tileLayer(url, { pane: "tiles", maxZoom: 19 }).addTo(this.map);
      this.names.forEach(({ marker }) => marker.remove());
      this.names = [];
      this.base.eachLayer((layer) => {
        if (["lines", "veil"].includes(layer.options.pane)) layer.remove();
      });
      const control = L.control({ position: "bottomright" });
      control.onAdd = () => element("div", "tile-attribution", attribution);
      control.addTo(this.map);
    }

    // Colour cells by "lift" or by "probability".
    colourBy(by) {
      this.by = by;
      if (this.shown) this._drawCells();
    }

    // Show what an answer names, truth and somebody's guess together; the world where it names nothing.
    fit(animate = true) {
      if (this.photos.length) {
        this.map.setMaxBounds(null);
        this.map.fitBounds(this.photos.map(({ lat, lng }) => [Math.max(-65, Math.min(78, lat)), lng]),
          { ...this._padding(), maxZoom: 9, animate: animate && !calm() });
        return;
      }
      if (!this.shown) {
        this.map.setMaxBounds(null);
        this.map.fitBounds(WORLD, { animate: animate && !calm() });
        return;
      }
      const { answer, truth } = this.shown;
      this.map.once("moveend", () =>
        this.map.setMaxBounds([[-89, this.middle - 280], [89, this.middle + 280]]));
      if (!this.isLocal) {
        this.map.fitBounds(WORLD, { animate: animate && !calm() });
        return;
      }
      const [first] = answer.predictions;
      const km = answer.mode_radius_km["50"];
      const points = ranked(answer).concat(truth ? [truth, answer.best] : [], this.guess || [])
        .map(({ lat, lng }) => [lat, lng]).concat(km < TELLING_KM ? circle(first, km) : []);
      // Mercator makes the far north and south too large to frame.
      const bounds = L.latLngBounds(points.map(([lat, lng]) =>
        [Math.max(-65, Math.min(78, lat)), nearestTurn(lng, this.middle)]));
      this.map.fitBounds(bounds, { ...this._padding(), maxZoom: 9, animate: animate && !calm() });
    }

    // Zoom to a ranked place and mark it as the chosen one.
    zoomTo(rank) {
      const place = ranked(this.shown.answer)[rank - 1];
      const zoom = Math.max(3, Math.min(DEEPEST_PLACE_ZOOM, (place.level || 8) + 1));
      this.map.setView([place.lat, nearestTurn(place.lng, this.middle)], zoom, { animate: !calm() });
      this.choose(rank);
      if (this.places.has(rank)) this.places.get(rank).marker.openTooltip();
      this.bringIntoView();
    }

    // On a phone the map lies above the list that its places are picked from.
    bringIntoView() {
      this.container.scrollIntoView({ block: "nearest", behavior: calm() ? "auto" : "smooth" });
    }

    choose(rank) {
      this.places.forEach(({ marker }, other) => {
        marker.getElement().classList.toggle("chosen", other === rank);
        marker.setZIndexOffset(other === rank ? 20000 : depth(other));
        if (other !== rank) marker.closeTooltip();
      });
    }

    _padding() {
      const narrow = this.container.clientWidth < 500;
      return { paddingTopLeft: narrow ? [28, 28] : [60, 60],
        paddingBottomRight: narrow ? [48, 64] : [60, 90] };
    }

    _colour(name) {
      return getComputedStyle(this.container).getPropertyValue(name).trim();
    }

    _path(make, points, colour, options, group = this.overlays, pane = "lines") {
      const layer = make(points, {
        renderer: this.renderers[pane], pane, interactive: false, fill: false, smoothFactor: 0.7,
        color: this._colour(colour), ...options });
      layer.options.colourName = colour;
      return layer.addTo(group);
    }

    drawLand(land) {
      const polygons = land.land.map((rings) => rings.map((ring) => decode(ring, land.steps)));
      const borders = land.borders.map((line) => decode(line, land.steps));
      WORLDS.forEach((by) => {
        polygons.forEach((rings) => {
          const moved = rings.map((ring) => shifted(ring, by));
          // The thin edge closes the seam between two worlds.
          this._path(L.polygon, moved, "--land", { fill: true, fillOpacity: 1, weight: 0.7 },
            this.base, "land");
          const coasts = rings.flatMap(coastLines).map((line) => shifted(line, by));
          this._path(L.polyline, coasts, "--coast", { weight: 0.8 }, this.base);
        });
        // Cells fade at sea: nobody took a photo there.
        const sea = [[[-89, -180], [89, -180], [89, 180], [-89, 180]], ...polygons.flat()];
        this._path(L.polygon, sea.map((ring) => shifted(ring, by)), "--sea",
          { fill: true, fillOpacity: AT_SEA, stroke: false }, this.base, "veil");
        borders.forEach((line) => this._path(
          L.polyline, shifted(line, by), "--border", { weight: 0.8 }, this.base));
      });
      this.names = land.names.map(([name, lng, lat, room]) => {
        const icon = L.divIcon({ className: "country", iconSize: [0, 0],
          html: element("span", "", name) });
        const marker = L.marker([lat / land.steps, lng / land.steps],
          { icon, pane: "names", interactive: false, keyboard: false });
        return { marker, name, lng: lng / land.steps, room: room / land.steps };
      });
      this._updateNames();
    }

    // A country's name is written where it has room for about two thirds of it.
    _updateNames() {
      const pixelsPerDegree = (256 * 2 ** this.map.getZoom()) / 360;
      const middle = this.shown ? this.middle : 0;
      this.names.forEach(({ marker, name, lng, room }) => {
        const fits = room * pixelsPerDegree > Math.max(30, name.length * 4);
        if (fits === this.map.hasLayer(marker)) return;
        if (!fits) marker.remove();
        else marker.setLatLng([marker.getLatLng().lat, nearestTurn(lng, middle)]).addTo(this.map);
      });
    }

    // Colours follow `by`; without a photo nothing is raised, and only probabilities say something.
    _drawCells() {
      const { answer, cells, beside } = this.shown;
      this.coloured.clearLayers();
      this.raised = [];
      this.legend.classList.toggle("without-cells", !cells.length);
      if (!cells.length) return;
      const by = beside ? "probability" : this.by;
      this.steps = (beside && beside.steps) || colourSteps(cells.map(({ probability }) => probability));
      const limits = by === "lift" ? this._colour("--lift-steps").split(" ").map(Number) : this.steps;
      const strengths = (by === "lift" ? liftStrengths : probabilityStrengths)(
        cells, limits, answer.abstained);
      // A layer for each colour and opacity: one for each cell would be slow where there are thousands.
      const layers = new Map();
      cells.forEach(({ rings }, i) => {
        const { shade, opacity } = strengths[i];
        const key = `${shade} ${Math.ceil(OPACITIES * opacity) / OPACITIES}`;
        if (!layers.has(key)) layers.set(key, []);
        rings.forEach((ring) => layers.get(key).push([ring.map(([lng, lat]) => [lat, lng])]));
        if (by === "lift" && shade >= DOTTED_SHADE) this.raised.push({ ring: rings[0], shade, opacity });
      });
      WORLDS.forEach((by360) => layers.forEach((parts, key) => {
        const [shade, opacity] = key.split(" ").map(Number);
        this._path(L.polygon, parts.map(([ring]) => [shifted(ring, by360)]),
          by === "lift" ? `--lift-${shade}` : `--cell-${shade}`,
          { fill: true, fillOpacity: opacity, weight: 0.5, opacity: opacity / 2, smoothFactor: 0.3 },
          this.coloured, "cells");
      }));
      this._updateLegend(by, limits);
      this._drawDots();
    }

    // A cell that the photo raised is a dot at least: the eye would miss it on a map of the world.
    _drawDots() {
      this.dots.clearLayers();
      if (!this.shown) return;
      const pixelsPerDegree = (256 * 2 ** this.map.getZoom()) / 360;
      const width = (ring) => pixelsPerDegree * (Math.max(...ring.map(([lng]) => lng))
        - Math.min(...ring.map(([lng]) => lng)));
      this.raised.filter(({ ring, opacity }) => width(ring) < 2 * DOT_PIXELS || opacity < FAINT)
        .forEach(({ ring, shade }) => {
        const [lng, lat] = middleOf(ring);
        WORLDS.forEach((by) => this._path(L.circleMarker, [lat, lng + by], `--lift-${shade}`,
          { radius: DOT_PIXELS, fill: true, fillOpacity: 1, stroke: false }, this.dots, "area"));
      });
    }

    _drawArea(rings) {
      const parts = rings.map((ring) => ring.map(([lng, lat]) => [lat, lng]));
      WORLDS.forEach((by) => this._path(L.polygon, parts.map((ring) => [shifted(ring, by)]), "--circle",
        { fill: true, fillColor: stripes(this._colour("--circle")), fillOpacity: 0.4, stroke: false,
          isStriped: true }, this.overlays, "area"));
    }

    _drawCircle(center, km, dashArray) {
      if (!(km > 0 && km < TELLING_KM)) return;
      const points = inAllWorlds(circle(center, km));
      this._path(L.polyline, points, "--halo", { weight: 4.5, opacity: 0.7 });
      this._path(L.polyline, points, "--circle", { weight: 1.8, dashArray });
    }

    // A guess, and how far it is from the truth, or without one from the answer's best point.
    _drawGuess() {
      this.guessed.clearLayers();
      this.legend.classList.toggle("without-guess", !this.guess);
      if (!this.guess) return;
      if (this.shown) {
        const { answer, truth } = this.shown;
        this._path(L.polyline, inAllWorlds(greatCircle(truth || answer.best, this.guess)),
          "--truth", { weight: 2.5, dashArray: "1 6", lineCap: "round" }, this.guessed);
      }
      this._marker(this.guess, element("span", "pin pin-guess", "You"), "Your guess", 15000,
        this.guessed);
    }

    _marker({ lat, lng }, content, label, zIndexOffset, group = this.overlays, keyboard = false) {
      const middle = this.shown ? this.middle : this.map.getCenter().lng;
      const icon = L.divIcon({ className: "marker", html: content, iconSize: [28, 28] });
      const marker = L.marker([lat, nearestTurn(lng, middle)],
        { icon, zIndexOffset, riseOnHover: true, keyboard });
      marker.bindTooltip(element("span", "", label), { direction: "top", offset: [0, -12] });
      marker.addTo(group);
      marker.getElement().setAttribute("aria-label", label);
      return marker;
    }

    _addLegend() {
      const control = L.control({ position: "bottomleft" });
      control.onAdd = () => {
        const legend = this.legend = element("div", "legend");
        legend.hidden = true; // until there is an answer
        const cells = legend.appendChild(element("div", "legend-cells"));
        cells.append(element("div", "legend-title"));
        const scale = cells.appendChild(element("div", "legend-scale"));
        for (let i = 0; i < COLOURS; i += 1) {
          const entry = scale.appendChild(element("span", "legend-step"));
          entry.append(element("span", "swatch"), element("span", "tick"));
        }
        const other = cells.appendChild(element("button", "button legend-other"));
        other.type = "button";
        other.addEventListener("click", () => this.colourBy(this.by === "lift" ? "probability" : "lift"));
        L.DomEvent.disableClickPropagation(legend);
        const signs = legend.appendChild(element("div", "legend-signs"));
        [["area", "striped", "holds half"], ["half", "ring", "50 %"], ["most", "ring dashed", "90 %"],
          ["truth", "pin-best", "best point"], ["truth", "pin-truth", "truth"],
          ["guess", "pin-guess", "your guess"]].forEach(([name, sign, text]) => {
          const entry = signs.appendChild(element("span", `legend-sign legend-${name}`));
          entry.append(element("span", `sign ${sign}`), element("span", "", text));
        });
        return legend;
      };
      control.addTo(this.map);
    }

    _updateLegend(by, limits) {
      const part = (name) => this.legend.querySelector(`.legend-${name}`);
      part("title").textContent = by === "lift" ? "Times as likely as without the photo"
        : "Probability of a cell, %";
      part("other").textContent = by === "lift" ? "Show probabilities" : "Show what the photo changed";
      part("other").hidden = Boolean(this.shown.beside);
      const times = by === "lift" ? (limit) => `× ${limit}` : (limit) => Number((100 * limit).toPrecision(2));
      this.legend.querySelectorAll(".legend-step").forEach((step, i) => {
        step.firstChild.className = `swatch ${by === "lift" ? "lift" : "cell"}-${i}`;
        step.lastChild.textContent = i < limits.length ? times(limits[i]) : "";
      });
    }

    _recolour() {
      [this.base, this.overlays, this.coloured, this.dots, this.guessed, this.grid].filter(Boolean)
        .forEach((group) => group.eachLayer((layer) => {
          const { colourName: name, isStriped } = layer.options;
          if (!name) return;
          const color = this._colour(name);
          layer.setStyle({ color, ...(isStriped && { fillColor: stripes(color) }) });
        }));
    }
  };
})();

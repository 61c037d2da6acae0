// The answer without the photo, on a map of its own beside the answer's: both show the same part of the
// world. Knows nothing of where answers come from.
"use strict";

const PriorMap = (() => {
  const byId = (id) => document.getElementById(id);

  return class PriorMap {
    // `map` is the answer's; `make` returns a LocationMap in a container, when there is one to show.
    constructor(map, make, onClose) {
      this.map = map;
      this.make = make;
      this.own = null;
      this.area = byId("prior-area");
      byId("prior-close").addEventListener("click", onClose);
    }

    get isOpen() {
      return !this.area.hidden;
    }

    // Show places of a prior, and its cells, as `LocationMap.show` takes them.
    show(prior, cells) {
      const isNew = !this.isOpen;
      this._open(true);
      this.own ||= this._made();
      this.own.resized();
      this.own.show(prior, cells, { beside: this.map });
      if (isNew) this._frame(prior);
      else this._follow(this.map, this.own);
    }

    hide() {
      if (!this.isOpen) return;
      this._open(false);
      if (this.own) this.own.clear();
    }

    _open(on) {
      this.area.hidden = !on;
      this.area.parentElement.classList.toggle("two", on);
      byId("answer-badge").hidden = !on;
      this.map.resized();
    }

    _made() {
      const own = this.make(byId("prior-map"));
      for (const [from, to] of [[this.map, own], [own, this.map]]) {
        from.map.on("move", () => this._follow(from, to));
      }
      return own;
    }

    // Whoever is moved says so too: that is no reason to move the first one again.
    _follow(from, to) {
      if (this.following || !this.isOpen) return;
      this.following = true;
      to.map.setView(from.map.getCenter(), from.map.getZoom(), { animate: false });
      this.following = false;
    }

    // What the answer says and what the prior says come into sight together.
    _frame({ predictions }) {
      this.map.fit(false);
      const bounds = this.map.map.getBounds();
      predictions.forEach(({ lat, lng }) => bounds.extend([Math.max(-60, Math.min(78, lat)),
        Arcs.nearestTurn(lng, this.map.middle)]));
      this.map.map.fitBounds(bounds, { animate: false });
      this._follow(this.map, this.own);
      this.area.parentElement.scrollIntoView({ block: "nearest" });
    }
  };
})();

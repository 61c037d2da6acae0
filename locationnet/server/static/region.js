// What a person knows of where a photo is from: countries by name or code, and a box on the map.
// Knows nothing of photos or of the service.
"use strict";

const KnownRegion = (() => {
  const { say } = AnswerView;
  const LEAST_PIXELS = 8; // a smaller box was a click

  // ISO codes by their English names, in small letters, from the browser itself.
  const codes = new Map();
  const names = new Intl.DisplayNames(["en"], { type: "region", fallback: "none" });
  const LETTERS = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
  // What is assigned by users, or stands for several countries.
  const NO_COUNTRY = ["EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"];
  LETTERS.flatMap((a) => LETTERS.map((b) => a + b)).forEach((code) => {
    const name = names.of(code);
    if (name && !NO_COUNTRY.includes(code)) codes.set(name.toLowerCase(), code);
  });

  // Codes of "Italy, fr", or an Error that names what is no country.
  function parsed(text) {
    return text.split(/[,;]/).map((part) => part.trim()).filter(Boolean).map((part) => {
      const code = codes.get(part.toLowerCase()) || part.toUpperCase();
      if (!/^[A-Z]{2}$/.test(code) || !names.of(code)) {
        throw new Error(`${part}: no country that this page knows. Names in English, or codes such as IT.`);
      }
      return code;
    });
  }

  return class KnownRegion {
    // `onChange` is called with {countries, bbox} as the service takes them; {} where nothing is known.
    constructor(map, onChange) {
      this.map = map;
      this.onChange = onChange;
      this.bbox = "";
      const byId = (id) => document.getElementById(id);
      [this.form, this.field, this.draw, this.remove, this.problem, this.area] =
        ["region-form", "countries", "draw-box", "remove-region", "region-problem", "map"].map(byId);
      byId("country-names").replaceChildren(...[...codes.values()].sort()
        .map((code) => AnswerView.node("option", { value: names.of(code) })));
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        this._apply();
      });
      this.draw.addEventListener("click", () => this._start(this.draw.getAttribute("aria-pressed") === "false"));
      byId("box-of-view").addEventListener("click", () => this._setBox(this.map.map.getBounds()));
      this.remove.addEventListener("click", () => {
        this.clear();
        this.onChange({});
        this.field.focus();
      });
      this.area.addEventListener("pointerdown", (event) => this._drag(event), { capture: true });
      document.addEventListener("keydown", ({ key }) => key === "Escape" && this._start(false));
    }

    get known() {
      const countries = this.countries || "";
      return { ...(countries && { countries }), ...(this.bbox && { bbox: this.bbox }) };
    }

    clear() {
      this.field.value = "";
      this.countries = "";
      this.bbox = "";
      this.map.showBox(null);
      this._start(false);
      this._report("");
    }

    _apply() {
      try {
        this.countries = parsed(this.field.value).join();
      } catch (error) {
        this._report(error.message);
        this.field.focus();
        return;
      }
      this._report("");
      this.onChange(this.known);
    }

    _report(message) {
      this.problem.textContent = message;
      this.problem.hidden = !message;
      this.field.setAttribute("aria-invalid", String(Boolean(message)));
      this.remove.hidden = !this.countries && !this.bbox;
    }

    // Wait for a box to be drawn, or no longer.
    _start(on) {
      this.draw.setAttribute("aria-pressed", String(on));
      this.area.classList.toggle("drawing", on);
      if (!on) return;
      say("Draw the box on the map: press, drag and let go. Escape ends it.", true);
      this.area.scrollIntoView({ block: "nearest" });
    }

    _drag(down) {
      if (this.draw.getAttribute("aria-pressed") === "false" || !down.isPrimary) return;
      down.preventDefault();
      down.stopPropagation();
      this.map.map.dragging.disable();
      const at = (event) => this.map.map.mouseEventToLatLng(event);
      const start = at(down);
      const boundsOf = (event) => L.latLngBounds(start, at(event));
      const move = (event) => this.map.showBox(boundsOf(event));
      const end = (event) => {
        window.removeEventListener("pointermove", move);
        this.map.map.dragging.enable();
        this._start(false);
        const far = Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY);
        if (event.type === "pointerup" && far >= LEAST_PIXELS) this._setBox(boundsOf(event));
        else this.map.showBox(null);
      };
      window.addEventListener("pointermove", move);
      window.addEventListener("pointerup", end, { once: true });
    }

    _setBox(bounds) {
      const within = (lng) => ((((lng + 180) % 360) + 360) % 360) - 180;
      const isWorld = bounds.getEast() - bounds.getWest() >= 360;
      const [west, east] = isWorld ? [-180, 180] : [within(bounds.getWest()), within(bounds.getEast())];
      this.bbox = [west, Math.max(-90, bounds.getSouth()), east, Math.min(90, bounds.getNorth())]
        .map((degrees) => degrees.toFixed(3)).join();
      this.map.showBox(bounds);
      this._apply();
    }
  };
})();

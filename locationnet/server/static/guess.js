// The guessing game: where a person thinks that a photo was taken, where it really was taken, and how
// many points the person and the model get. Knows nothing of photos or of the service.
"use strict";

const Guess = (() => {
  const { node, number, kilometres } = AnswerView;
  // GeoScore, as the evaluation counts it.
  const POINTS = 5000;
  const SCALE_KM = 1492.7;
  const pointsFor = (km) => Math.round(POINTS * Math.exp(-km / SCALE_KM));

  // What is asked for on the map: what the bar says, its button, and what the status says.
  const ASKED = {
    guess: ["Click where you think it was taken, or move the map until the cross is there.",
      "Guess at the cross", "Guess on the map: click, or move the map and press Enter."],
    truth: ["Click where it was really taken, move the map until the cross is there, or type it.",
      "It is at the cross", "The true place: click, move the map and press Enter, or type it."],
  };

  // Latitude and longitude in degrees from "48.8584, 2.2945", or null.
  function parsed(text) {
    const [lat, lng, more] = text.trim().split(/\s*[,;]\s*|\s+/);
    const isNumber = (part) => /^[+-]?\d+(\.\d*)?$/.test(part || "");
    if (more !== undefined || !isNumber(lat) || !isNumber(lng)) return null;
    return Math.abs(lat) > 90 || Math.abs(lng) > 180 ? null : { lat: Number(lat), lng: Number(lng) };
  }

  return class Guess {
    // `onChange` is called when there is another guess or another truth, or none.
    constructor(map, onChange) {
      this.map = map;
      this.onChange = onChange;
      this.point = null;
      this.truth = null;
      this.asked = "guess";
      this.area = document.querySelector(".map-area");
      [this.bar, this.button, this.here, this.form, this.field] =
        ["guess-bar", "guess", "guess-here", "truth-form", "truth"]
          .map((id) => document.getElementById(id));
      this.button.addEventListener("click", () => this.start());
      const center = () => this._set(map.map.getCenter());
      this.here.addEventListener("click", center);
      document.getElementById("guess-stop").addEventListener("click", () => {
        this.stop();
        this.button.focus();
      });
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        const place = parsed(this.field.value);
        this.field.setAttribute("aria-invalid", String(!place));
        if (place) this._set(place);
        else AnswerView.say("Latitude and longitude in degrees, such as 48.8584, 2.2945", true);
      });
      map.map.on("click", ({ latlng }) => this.isOpen && this._set(latlng));
      map.container.addEventListener("keydown", (event) => {
        if (event.target !== map.container || event.key !== "Enter" || !this.isOpen) return;
        event.preventDefault();
        center();
      });
    }

    get isOpen() {
      return !this.bar.hidden;
    }

    // Wait for a place on the map: the person's "guess", or the "truth".
    start(asked = "guess", focus = true) {
      const [text, here, status] = ASKED[asked];
      this.asked = asked;
      this.bar.querySelector("p").textContent = text;
      this.here.textContent = here;
      this.form.hidden = asked !== "truth";
      this.field.value = "";
      this.field.removeAttribute("aria-invalid");
      this.bar.hidden = false;
      this.button.hidden = true;
      this.area.classList.add("guessing");
      AnswerView.say(status);
      if (focus) this.map.container.focus();
      this.area.scrollIntoView({ block: "nearest" });
      this.bar.scrollIntoView({ block: "nearest" });
    }

    stop() {
      this.bar.hidden = true;
      this.button.hidden = false;
      this.area.classList.remove("guessing");
    }

    // Forget guess and truth.
    clear() {
      this.point = null;
      this.truth = null;
      this.map.showGuess(null);
    }

    _set({ lat, lng }) {
      this.stop();
      const place = { lat: Math.max(-90, Math.min(90, lat)), lng: lng - 360 * Math.round(lng / 360) };
      if (this.asked === "truth") this.truth = place;
      else this.point = place;
      this.map.showGuess(this.point);
      this.onChange();
    }

    // How it stands, in a sentence; `best` is the model's point of an answer.
    outcome({ best }) {
      if (!this.truth) {
        return this.point
          ? `${kilometres(Arcs.distanceKm(this.point, best))} from the model's best point.`
          : "Your guess is removed.";
      }
      const model = pointsFor(Arcs.distanceKm(best, this.truth));
      if (!this.point) return `The model gets ${number(model)} of ${number(POINTS)} points.`;
      const you = pointsFor(Arcs.distanceKm(this.point, this.truth));
      const score = `${number(Math.max(you, model))} to ${number(Math.min(you, model))} points.`;
      if (you === model) return `A draw: ${score}`;
      return `${you > model ? "You win" : "The model wins"}: ${score}`;
    }

    // The part of the panel in which a person and the model are compared.
    section(answer) {
      const button = (id, text, onclick) => node("button",
        { type: "button", id, class: "button", onclick }, text);
      return node("section", { class: "guess" },
        node("h2", {}, node("span", { class: "sign pin-guess", "aria-hidden": "true" }),
          this.truth ? "Who was closer?" : this.point ? "Your guess" : "You or the model?"),
        node("p", { id: "outcome" }, ...(this.point || this.truth ? [node("b", {}, this.outcome(answer))]
          : ["Guess where it was taken, say where it really was, and count the points."])),
        this.point ? node("p", { class: "quiet number" }, "Your guess: ",
          node("span", { id: "guess-at" }, AnswerView.coordinates(this.point))) : null,
        this.truth ? this._scores(answer) : null,
        node("div", { class: "row" },
          this.point ? null : button("guess-now", "Guess", () => this.start()),
          button("set-truth", this.truth ? "Another true place" : "Set the true place",
            () => this.start("truth")),
          this.point || this.truth ? button("remove-guess", this.truth ? "Start over" : "Remove the guess",
            () => {
              this.clear();
              this.onChange();
            }) : null));
    }

    _scores({ best }) {
      const row = (id, name, place) => {
        const km = Arcs.distanceKm(place, this.truth);
        return node("tr", { id }, node("th", { scope: "row" }, name),
          node("td", {}, kilometres(km)), node("td", {}, number(pointsFor(km))));
      };
      return node("div", {},
        node("table", { "aria-label": "Points" },
          node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Guessed by"),
            node("th", { scope: "col" }, "Off by"), node("th", { scope: "col" }, "Points"))),
          node("tbody", {}, this.point ? row("score-you", "You", this.point) : null,
            row("score-model", "The model (its best point)", best))),
        node("p", { class: "quiet" }, "GeoScore: ", `${number(POINTS)} points for the exact place, `,
          `half as many ${number(SCALE_KM * Math.LN2)} km away. The true place is the one you set: `,
          AnswerView.coordinates(this.truth), "."));
    }
  };
})();

// Answers of many photos as files to keep: CSV, GeoJSON and KML. Knows nothing of the page.
//
// An entry is that of Batches, with the photo's `name`.
"use strict";

const Results = (() => {
  // Those of `locate --format csv`, and why a photo has no answer.
  const COLUMNS = ["photo", "place", "country", "probability", "lift", "lat", "lng", "radius_50_km",
    "abstained", "located", "information_bits", "calibrated", "summary", "error"];

  // One photo as plain values; what a photo without an answer lacks is null.
  function row({ photo, answer, reason }) {
    const first = answer && answer.predictions[0];
    // A place's name ends with its country's code.
    const country = first && first.place.split(", ").at(-1);
    return {
      photo: photo.name,
      place: first && first.place,
      country: /^[A-Z]{2}$/.test(country || "") ? country : null,
      probability: first && first.probability,
      lift: first && first.lift,
      lat: first && first.lat,
      lng: first && first.lng,
      radius_50_km: answer && answer.mode_radius_km["50"],
      abstained: answer && answer.abstained,
      located: answer && answer.located,
      information_bits: answer && answer.information_bits,
      calibrated: answer && answer.calibrated !== false,
      summary: answer && answer.summary,
      error: reason || null,
    };
  }

  function csv(entries) {
    const cell = (value) => {
      const text = value === null ? "" : value === true ? "True" : value === false ? "False"
        : String(value);
      return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    };
    const rows = entries.map(row).map((values) => COLUMNS.map((name) => cell(values[name])));
    return `${[COLUMNS, ...rows].map((cells) => cells.join(",")).join("\n")}\n`;
  }

  function geojson(entries) {
    const features = entries.map(row).map(({ lat, lng, ...properties }) => ({
      type: "Feature",
      geometry: lat === null ? null : { type: "Point", coordinates: [lng, lat] },
      properties,
    }));
    return `${JSON.stringify({ type: "FeatureCollection", features }, null, 1)}\n`;
  }

  function kml(entries) {
    const escaped = (value) => String(value)
      .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
      .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;");
    const data = (values) => Object.entries(values).filter(([, value]) => value !== null)
      .map(([name, value]) => `<Data name="${name}"><value>${escaped(value)}</value></Data>`).join("");
    const marks = entries.map(row).map(({ lat, lng, photo, summary, ...others }) => [
      `<Placemark><name>${escaped(photo)}</name>`,
      `<description>${escaped(summary || others.error || "")}</description>`,
      `<ExtendedData>${data(others)}</ExtendedData>`,
      lat === null ? "" : `<Point><coordinates>${lng},${lat}</coordinates></Point>`,
      "</Placemark>",
    ].join(""));
    return ['<?xml version="1.0" encoding="UTF-8"?>',
      '<kml xmlns="http://www.opengis.net/kml/2.2"><Document><name>Places of photos</name>',
      ...marks, "</Document></kml>", ""].join("\n");
  }

  const KINDS = {
    csv: [csv, "text/csv;charset=utf-8"],
    geojson: [geojson, "application/geo+json"],
    kml: [kml, "application/vnd.google-earth.kml+xml"],
  };

  // Give a file of the answers to whoever looks at the page; `kind` is csv, geojson or kml.
  function download(entries, kind) {
    const [write, type] = KINDS[kind];
    const address = URL.createObjectURL(new Blob([write(entries)], { type }));
    const link = document.createElement("a");
    Object.assign(link, { href: address, download: `places.${kind}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000); // browsers begin to read it later
  }

  return { download };
})();

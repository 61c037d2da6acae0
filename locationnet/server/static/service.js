// Asks POST /locate where a photo was taken, and puts into a sentence why it does not say.
// Knows nothing of the page.
"use strict";

const Service = (() => {
  const MOST_PLACES = 100;
  const PATIENCE_S = 60;
  let key = ""; // in memory only

  // Its message is a sentence for the reader.
  class Failure extends Error {
    constructor(message, { retry = false, needsKey = false, status = 0, seconds = 0 } = {}) {
      super(message);
      Object.assign(this, { retry, needsKey, status, seconds });
    }
  }

  const sentence = (text) =>
    text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

  // Retry-After holds seconds or a date; 0 where it says nothing.
  function secondsOf(header) {
    const seconds = /^\d+$/.test(header || "") ? Number(header)
      : Math.ceil((Date.parse(header) - Date.now()) / 1000);
    return seconds > 0 ? seconds : 0;
  }

  function detailOf(request) {
    try {
      const { detail } = JSON.parse(request.responseText);
      return typeof detail === "string" && detail ? sentence(detail) : "";
    } catch {
      return ""; // a proxy's page, say
    }
  }

  function failure(request) {
    const { status } = request;
    const detail = detailOf(request);
    const seconds = secondsOf(request.getResponseHeader("Retry-After"));
    const later = seconds && ` Try again in ${seconds === 1 ? "a second" : `${seconds} seconds`}.`;
    if (status === 401) {
      return new Failure(key ? "The server does not accept this key." : "", { needsKey: true });
    }
    if (status === 429) {
      return new Failure(`That was one request too many.${later || " Try again later."}`,
        { retry: true, status, seconds });
    }
    if (status === 503) {
      return new Failure(`The server is busy just now.${later || " Try again in a while."}`,
        { retry: true, status, seconds });
    }
    if (status === 413 && !detail) return new Failure("The photo is too large for the server.", { status });
    return new Failure(detail || `The server answered with an error (${status}).`,
      { retry: status >= 500, status });
  }

  function answerOf(request) {
    try {
      return JSON.parse(request.responseText);
    } catch {
      throw new Failure("The server's answer cannot be read.", { retry: true });
    }
  }

  // Ask for something by POST. `onStep` is called with the share of the body that has been sent.
  // Resolves to the answer, or to null when `signal` ends it; rejects with a Failure.
  function ask(path, options, type, body, onStep, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch tells nothing of how far it is
      request.open("POST", `${path}?${new URLSearchParams(options)}`);
      if (type) request.setRequestHeader("Content-Type", type);
      if (key) request.setRequestHeader("X-API-Key", key);
      let stalled = 0;
      let late = false;
      const moved = () => {
        clearTimeout(stalled);
        stalled = setTimeout(() => {
          late = true;
          request.abort();
        }, 1000 * PATIENCE_S);
      };
      request.upload.addEventListener("progress", ({ loaded, total }) => {
        moved();
        onStep(total ? loaded / total : 1);
      });
      request.addEventListener("progress", moved);
      request.addEventListener("load", () => {
        try {
          if (request.status !== 200) throw failure(request);
          resolve(answerOf(request));
        } catch (error) {
          reject(error);
        }
      });
      request.addEventListener("error", () => reject(new Failure(navigator.onLine
        ? "The server cannot be reached. Check your connection, and try again."
        : "You are offline. Try again when you are back.", { retry: true })));
      request.addEventListener("abort", () => (late
        ? reject(new Failure(`The server has not answered for ${PATIENCE_S} seconds.`,
          { retry: true }))
        : resolve(null)));
      request.addEventListener("loadend", () => clearTimeout(stalled));
      signal.addEventListener("abort", () => request.abort());
      moved();
      request.send(body);
    });
  }

  // Locate a photo of Photos; `region` is {} or holds `countries`, `bbox`. See `ask`.
  function locate(photo, region, onStep, signal) {
    const options = { top_k: MOST_PLACES, heatmap: true, explain: true, ...region };
    return photo.url
      ? ask("locate", options, "application/json", JSON.stringify({ url: photo.url }), onStep, signal)
      : ask("locate", options, photo.type, photo.blob, onStep, signal);
  }

  // Locate several photos that are files. Resolves to what came of each, in order: {answer} or
  // {status, reason}.
  async function locateMany(photos, region, onStep, signal) {
    const form = new FormData();
    photos.forEach(({ blob }) => form.append("file", blob, "photo"));
    const found = await ask("locate/batch", { ...region }, null, form, onStep, signal);
    return found && found.results.map(({ status, answer, problem }) => (answer ? { answer }
      : { status, reason: sentence(problem.detail || problem.title) }));
  }

  // The cells of the loaded grid in a view of the map, as outlines; from afar, larger ones.
  async function cells(view) {
    return outlines(await geojson("cells.geojson", view)).flatMap(({ rings }) => rings);
  }

  // The cells of the answer without a photo; `region` as for `locate`.
  async function prior(region) {
    return outlines(await geojson("prior.geojson", region));
  }

  async function geojson(path, options) {
    let response;
    try {
      response = await fetch(`${path}?${new URLSearchParams(options)}`,
        { headers: key ? { "X-API-Key": key } : {} });
    } catch {
      throw new Failure("The cells cannot be fetched: the server cannot be reached.");
    }
    if (response.status === 401) throw new Failure("", { needsKey: true });
    if (!response.ok) throw new Failure("The server does not give its cells just now.");
    return response.json();
  }

  // GeoJSON as the map draws it.
  function outlines({ features }) {
    return features.map(({ geometry, properties }) => ({
      ...properties, rings: geometry.coordinates.map(([ring]) => ring) }));
  }

  function useKey(text) {
    key = text;
  }

  return { locate, locateMany, cells, prior, outlines, useKey, Failure };
})();

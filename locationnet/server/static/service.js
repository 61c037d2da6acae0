// Asks POST /locate where a photo was taken, and puts into a sentence why it does not say.
// Knows nothing of the page.
"use strict";

const Service = (() => {
  const MOST_PLACES = 100;
  const PATIENCE_S = 60;
  let key = ""; // in memory only

  // Its message is a sentence for the reader.
  class Failure extends Error {
    constructor(message, { retry = false, needsKey = false } = {}) {
      super(message);
      this.retry = retry;
      this.needsKey = needsKey;
    }
  }

  const sentence = (text) =>
    text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

  // Retry-After holds seconds or a date.
  function wait(header) {
    if (!header) return "";
    const seconds = /^\d+$/.test(header) ? Number(header)
      : Math.ceil((Date.parse(header) - Date.now()) / 1000);
    if (!(seconds > 0)) return "";
    return ` Try again in ${seconds === 1 ? "a second" : `${seconds} seconds`}.`;
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
    const later = wait(request.getResponseHeader("Retry-After"));
    if (status === 401) {
      return new Failure(key ? "The server does not accept this key." : "", { needsKey: true });
    }
    if (status === 429) {
      return new Failure(`That was one request too many.${later || " Try again later."}`,
        { retry: true });
    }
    if (status === 503) {
      return new Failure(`The server is busy just now.${later || " Try again in a while."}`,
        { retry: true });
    }
    if (status === 413 && !detail) return new Failure("The photo is too large for the server.");
    return new Failure(detail || `The server answered with an error (${status}).`,
      { retry: status >= 500 });
  }

  function answerOf(request) {
    try {
      return JSON.parse(request.responseText);
    } catch {
      throw new Failure("The server's answer cannot be read.", { retry: true });
    }
  }

  // Send a photo of Photos. `onStep` is called with the share of it that has been sent, 0 to 1.
  // Resolves to the answer, or to null when `signal` ends it; rejects with a Failure.
  function locate(photo, onStep, signal) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest(); // fetch tells nothing of how far it is
      request.open("POST", `locate?top_k=${MOST_PLACES}&heatmap=true&explain=true`);
      request.setRequestHeader("Content-Type", photo.url ? "application/json" : photo.type);
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
      request.send(photo.url ? JSON.stringify({ url: photo.url }) : photo.blob);
    });
  }

  // The cells of the loaded grid in a view of the map, as outlines; from afar, larger ones.
  async function cells({ zoom, bbox }) {
    let response;
    try {
      response = await fetch(`cells.geojson?zoom=${zoom}&bbox=${bbox}`, { headers: key ? { "X-API-Key": key } : {} });
    } catch {
      throw new Failure("The cells cannot be fetched: the server cannot be reached.");
    }
    if (response.status === 401) throw new Failure("", { needsKey: true });
    if (!response.ok) throw new Failure("The server does not give its cells just now.");
    return outlines(await response.json()).flatMap(({ rings }) => rings);
  }

  // GeoJSON as the map draws it.
  function outlines({ features }) {
    return features.map(({ geometry, properties }) => ({
      rings: geometry.coordinates.map(([ring]) => ring), probability: properties.probability }));
  }

  function useKey(text) {
    key = text;
  }

  return { locate, cells, outlines, useKey, Failure };
})();

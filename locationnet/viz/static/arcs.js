// Lines on the sphere for a map: circles, great circles, distances. Knows nothing of what they mean.
// Places are {lat, lng} in degrees, points of a line [lat, lng].
"use strict";

const Arcs = (() => {
  const EARTH_RADIUS_KM = 6371;
  const RADIANS = Math.PI / 180;

  // The turn of a longitude that lies nearest to another one.
  const nearestTurn = (lng, to) => lng + 360 * Math.round((to - lng) / 360);

  // The point `km` from a place along a bearing (radians), on the sphere.
  function destination(lat, lng, bearing, km) {
    const angle = km / EARTH_RADIUS_KM;
    const [phi, sin, cos] = [lat * RADIANS, Math.sin(angle), Math.cos(angle)];
    const sinLat = Math.sin(phi) * cos + Math.cos(phi) * sin * Math.cos(bearing);
    const turn = Math.atan2(
      Math.sin(bearing) * sin * Math.cos(phi), cos - Math.sin(phi) * sinLat);
    return [Math.asin(Math.max(-1, Math.min(1, sinLat))) / RADIANS, lng + turn / RADIANS];
  }

  // Longitudes that run on past ±180° instead of jumping: the line can be drawn in one stroke.
  function unwrapped(points) {
    let last = points[0][1];
    return points.map(([lat, lng]) => [lat, (last = nearestTurn(lng, last))]);
  }

  // Starts due east: due north and south may lie beyond a pole, where ±180° are the same.
  function circle(center, km) {
    const points = Array.from({ length: 361 }, (_, i) =>
      destination(center.lat, center.lng, (90 + i) * RADIANS, km));
    return unwrapped(points);
  }

  const vector = ({ lat, lng }) => [
    Math.cos(lat * RADIANS) * Math.cos(lng * RADIANS),
    Math.cos(lat * RADIANS) * Math.sin(lng * RADIANS),
    Math.sin(lat * RADIANS),
  ];

  // The angle between two unit vectors, radians; exact where the arc cosine is not.
  function angleBetween(a, b) {
    const [apart, together] = [-1, 1].map((sign) =>
      Math.hypot(...a.map((value, k) => value + sign * b[k])));
    return 2 * Math.atan2(apart, together);
  }

  function greatCircle(from, to) {
    const [a, b] = [vector(from), vector(to)];
    const angle = angleBetween(a, b);
    if (angle < 1e-9) return [[from.lat, from.lng], [to.lat, to.lng]];
    const points = Array.from({ length: 129 }, (_, i) => {
      const [p, q] = [Math.sin(angle * (1 - i / 128)), Math.sin(angle * (i / 128))];
      const [x, y, z] = a.map((value, k) => p * value + q * b[k]);
      return [Math.atan2(z, Math.hypot(x, y)) / RADIANS, Math.atan2(y, x) / RADIANS];
    });
    return unwrapped(points);
  }

  // Kilometres between two places.
  const distanceKm = (from, to) => EARTH_RADIUS_KM * angleBetween(vector(from), vector(to));

  return { circle, distanceKm, greatCircle, nearestTurn };
})();

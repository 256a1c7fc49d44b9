/** What `build.mjs` puts in place of `Math.abs` and so on. */
export const { abs: math_abs, ceil: math_ceil, floor: math_floor, max: math_max, min: math_min, round: math_round } = Math;

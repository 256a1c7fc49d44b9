/** How numbers and names are written, the same way in every widget. */

export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? "" : "s"}`;

export const capital = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1);

/** Decimals and a real minus sign; never "−0.00". */
export const number = (value: number, decimals = 2): string => (Math.abs(value) < 0.5 * 10 ** -decimals ? 0 : value).toFixed(decimals).replace("-", "−");

/** What is known of several, between points. */
export const dotted = (...parts: (string | false | null | undefined)[]): string => parts.filter(Boolean).join(" · ");

export const upTo = (n: number): number[] => [...Array(n).keys()];

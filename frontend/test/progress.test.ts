import { expect, test } from "vitest";
import { type Chapter, facts, type Item, marksWidth, parts, points, time } from "../src/widgets/progress";

const item = (state: Item["state"], points = 2): Item => ({ id: "05.1", name: "f", kind: "exercise", state, points, minutes: 10 });
const chapter = (part: string, items = 8): Chapter => ({ number: "05", title: "t", part, items: Array(items).fill(item("open")), minutes: 0 });

test("points count what is done, with a hint or without", () => {
  expect(points([item("done"), item("hinted", 3), item("tried"), item("open", 1)])).toEqual([5, 8]);
  expect(points([])).toEqual([0, 0]);
});

test("minutes are said as people say them", () => {
  expect([0, 1, 59, 60, 66, 870].map(time)).toEqual(["", "1 min", "59 min", "1 h 00", "1 h 06", "14 h 30"]);
});

test("an item says how it stands, what it is worth and how long it takes", () => {
  expect(facts({ ...item("tried"), tries: 3 })).toBe("tried 3 times, 2 points, about 10 minutes");
  expect(facts({ ...item("tried", 1), tries: 1, minutes: 1 })).toBe("tried once, 1 point, about 1 minute");
  expect(facts(item("tried"))).toBe("tried, 2 points, about 10 minutes");
  expect(facts({ ...item("hinted"), minutes: 0 })).toBe("done with a hint, 2 points");
});

test("neighbours of one part stand together", () => {
  const groups = parts([chapter("I"), chapter("I"), chapter("II"), chapter("I")]);
  expect(groups.map((group) => group.length)).toEqual([2, 1, 1]);
  expect(parts([])).toEqual([]);
});

test("marks stand in one line where there is room, and leave room for the titles", () => {
  expect(marksWidth([chapter("I", 13)], 852)).toBe(216);
  expect(marksWidth([chapter("I", 13)], 700)).toBe(152);
  expect(marksWidth([chapter("I", 13)], 320)).toBe(104);
  expect(marksWidth([chapter("I", 3)], 852)).toBe(56);
  expect(marksWidth([], 852)).toBe(24);
});

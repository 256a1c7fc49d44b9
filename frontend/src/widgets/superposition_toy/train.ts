/** Trains a toy, step by step the same as `train_toys` in methods/superposition.py, which says what is computed. */
import { philox, UNIT } from "./random";

export const STEPS = 1000;
const BATCH = 128;
const RATE = 0.02;
const [BETA1, BETA2, EPSILON] = [0.9, 0.99, 1e-8]; // of Adam
const START = 0.2;
const [DATA, WEIGHTS] = [0, 1]; // streams of random numbers

export interface Toy {
  features: number;
  hidden: number;
  sparsity: number;
  decay: number;
  correlation: number;
  seed: number;
}

/** A toy on its way; the weights after every step are kept, those of step 0 being the start. */
export interface Training {
  toy: Toy;
  /** Steps done. */
  done(): number;
  step(): void;
  /** W after a step, [hidden, feature]. */
  weights(step: number): Float64Array;
  bias(step: number): Float64Array;
  /** Of the batch of each step, before it changed the weights. */
  losses: Float64Array;
}

/** The features of a batch, [sample, feature], written into `x`. */
export function draw({ features, sparsity, correlation, seed }: Toy, step: number, x: Float64Array): void {
  for (let sample = 0, at = 0; sample < BATCH; sample++)
    for (let feature = 0, before = 0; feature < features; feature++, at++) {
      const words = philox(seed, DATA, feature, sample, step, 0);
      const own = words[0]! * UNIT;
      const presence = feature % 2 && words[2]! * UNIT < correlation ? before : own;
      x[at] = presence >= sparsity ? words[1]! * UNIT : 0;
      before = own;
    }
}

/** Adam for one array: moves it against its slope. */
function adam(values: Float64Array): (slope: Float64Array, rate: number, step: number) => void {
  const [first, second] = [new Float64Array(values.length), new Float64Array(values.length)];
  return (slope, rate, step) => {
    const [share, root] = [rate / (1 - BETA1 ** step), Math.sqrt(1 - BETA2 ** step)];
    slope.forEach((g, i) => {
      const m = (first[i] = BETA1 * first[i]! + (1 - BETA1) * g);
      const v = (second[i] = BETA2 * second[i]! + (1 - BETA2) * g * g);
      values[i]! -= (share * m) / (Math.sqrt(v) / root + EPSILON);
    });
  };
}

export function train(toy: Toy): Training {
  const { features: n, hidden: m, decay, seed } = toy;
  const W = Float64Array.from({ length: m * n }, (_, i) => START * (2 * philox(seed, WEIGHTS, i % n, Math.floor(i / n), 0, 0)[0]! * UNIT - 1));
  const [b, x, losses] = [new Float64Array(n), new Float64Array(BATCH * n), new Float64Array(STEPS)];
  const [moveW, moveB] = [adam(W), adam(b)];
  const importance = Float64Array.from(b, (_, i) => decay ** i);
  const [keptW, keptB] = [new Float64Array((STEPS + 1) * m * n), new Float64Array((STEPS + 1) * n)];
  let done = 0;
  const keep = () => {
    keptW.set(W, done * m * n);
    keptB.set(b, done * n);
  };
  /** The loss of the batch; what it changes by with W and with b is added to `slope` and `lean`. */
  const backward = (slope: Float64Array, lean: Float64Array): number => {
    const [h, back] = [new Float64Array(m), new Float64Array(m)]; // W x, and the slope of the loss there
    let loss = 0;
    for (let from = 0; from < x.length; from += n) {
      h.fill(0);
      back.fill(0);
      for (let k = 0; k < m; k++) for (let i = 0; i < n; i++) h[k]! += W[k * n + i]! * x[from + i]!;
      for (let i = 0; i < n; i++) {
        let z = b[i]!;
        for (let k = 0; k < m; k++) z += W[k * n + i]! * h[k]!;
        const error = Math.max(z, 0) - x[from + i]!;
        loss += importance[i]! * error * error;
        if (z <= 0) continue;
        const d = (2 * importance[i]! * error) / BATCH;
        lean[i]! += d;
        for (let k = 0; k < m; k++) {
          slope[k * n + i]! += d * h[k]!;
          back[k]! += d * W[k * n + i]!;
        }
      }
      for (let i = 0; i < n; i++) if (x[from + i]) for (let k = 0; k < m; k++) slope[k * n + i]! += x[from + i]! * back[k]!;
    }
    return loss / BATCH;
  };
  keep();
  return {
    toy,
    losses,
    done: () => done,
    weights: (step) => keptW.subarray(step * m * n, (step + 1) * m * n),
    bias: (step) => keptB.subarray(step * n, (step + 1) * n),
    step() {
      const [slope, lean] = [new Float64Array(m * n), new Float64Array(n)];
      draw(toy, done, x);
      losses[done] = backward(slope, lean);
      const rate = RATE * Math.min(1, Math.max(0.01, 2 * (1 - done / STEPS)));
      done++;
      moveW(slope, rate, done);
      moveB(lean, rate, done);
      keep();
    },
  };
}

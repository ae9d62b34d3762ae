/** What assembly/index.ts exports. */
export interface CoreExports {
  abiVersion(): number;
  run(program: number, words: number, frames: number, rank: number, ranks: number, team: number): void;
  fillNormal(
    out: number,
    first: number,
    count: number,
    mean: number,
    deviation: number,
    c1: number,
    c2: number,
    c3: number,
    key0: number,
    key1: number,
    scratch: number,
  ): void;
  fillUniform(
    out: number,
    first: number,
    count: number,
    low: number,
    high: number,
    c1: number,
    c2: number,
    c3: number,
    key0: number,
    key1: number,
    scratch: number,
  ): void;
  scatter(stored: number, rows: number, outputs: number, count: number, table: number): void;
  shuffle(list: number, count: number, epoch: number, key0: number, key1: number, scratch: number): void;
  largest(numbers: number, count: number): number;
  ln(x: number): number;
}

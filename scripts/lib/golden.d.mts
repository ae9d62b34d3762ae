export interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array | Uint8Array;
}

export interface GoldenCase {
  readonly method: string;
  readonly description: Record<string, unknown>;
  readonly tensors: Record<string, GoldenTensor>;
}

export interface GoldenResult {
  readonly name: string;
  /** Compared entry by entry; `error` counts the mismatches. */
  readonly exact: boolean;
  /** Largest error relative to the tensor's largest entry. */
  readonly error: number;
  readonly bound: number;
  readonly ok: boolean;
  readonly count?: number;
  readonly note?: string;
}

export type GoldenAnswers = Record<string, GoldenTensor | NotAvailable>;

export class UnusableFile extends Error {}
export class NotAvailable extends Error {}

export function readCase(bytes: Uint8Array, io: object): GoldenCase;
export function runCase(
  golden: GoldenCase,
  library: object,
  build: "simd" | "scalar",
): Promise<GoldenAnswers>;
export function compareCase(golden: GoldenCase, answers: GoldenAnswers): GoldenResult[];
export function differingBits(first: GoldenAnswers, second: GoldenAnswers): string[];

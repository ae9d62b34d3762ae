// Docstrings with a fault each, for the test of the walk that looks for them.
import { ArgumentError } from "../../src/errors.ts";

export const unnamed = 1;

/** A field says nothing. */
export interface Fields {
  /** It says something. */
  readonly said: number;
  readonly unsaid: number;
  /** Its parts say nothing. */
  readonly inner: { readonly part: number };
}

/** No entry point exports it. */
interface Hidden {
  readonly inside: number;
}

/**
 * Parameters and errors are left out, and one is too many.
 *
 * @param second
 * @param third there is none
 */
export function parameters(first: number, second: Hidden): void {
  refuse(first, second);
}

function refuse(value: number, hidden: Hidden): void {
  if (value < hidden.inside) throw new ArgumentError("value", value, "more");
}

/** A method is left out, and an error's condition. */
export class Methods {
  undocumented(): void {}

  /** @throws ArgumentError */
  documented(): void {
    refuse(1, { inside: 2 });
  }
}
